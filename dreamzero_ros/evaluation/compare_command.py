# SPDX-License-Identifier: Apache-2.0
"""The subcommand that compares two evaluations."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dreamzero_ros.evaluation.compare import compare
from dreamzero_ros.evaluation.comparison_table import print_comparison
from dreamzero_ros.evaluation.conditions import Condition, fails, parse
from dreamzero_ros.evaluation.summary import read_summary
from dreamzero_ros.evaluation.table import WIDTH

PASSED, FAILED, USAGE = 0, 1, 2
"""Exit codes."""

COMPARE_HELP = """\
Compares two evaluations of the same bags: every metric on both sides, over the episodes that both have, with
the 95 % interval of the difference (paired bootstrap over episodes). A difference is called unclear where its
interval holds 0.

examples:
  dreamzero-evaluate compare before/ after/
  dreamzero-evaluate compare before/ after/ --fail-if "rmse>+5%" --fail-if "direction<-2%"
"""
COMPARE_EPILOG = """\
conditions, of any metric of the table:
  "rmse>+5%"       the second is more than 5 % above the first
  "rmse>+0.01"     the second is more than 0.01 above the first, in the unit of the table
  "direction<-2%"  the second is more than 2 % of the first below it
  "rmse>0.1"       the second is above 0.1, whatever the first is
  "direction<90%"  the second is below 90 %, whatever the first is; of shares only
Intervals play no part in them.

exit codes: 0 no condition holds, 1 one does (it is printed), 2 wrong usage, or nothing that can be compared
"""


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the arguments of the subcommand."""
    parser.add_argument("a", type=Path, help="folder of an evaluation, with report.json")
    parser.add_argument("b", type=Path, help="folder of the evaluation to compare with it")
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        type=_condition,
        metavar="CONDITION",
        help="exit with 1 where the second evaluation is so much worse; may be repeated",
    )


def run_compare(options: argparse.Namespace) -> int:
    """Prints the comparison and what fails; returns the exit code."""
    console, errors = Console(width=WIDTH), Console(width=WIDTH, stderr=True)
    try:
        comparison = compare(read_summary(options.a), read_summary(options.b))
        failed = [condition for condition in options.fail_if if fails(comparison, condition)]
    except ValueError as error:
        errors.print(Text(str(error), "bold red"))
        return USAGE
    console.print(Text(f"a: {options.a}\nb: {options.b}\n"))
    print_comparison(console, comparison)
    for condition in failed:
        change = comparison.changes[condition.metric]
        words = f"fails {condition.text}: from {change.a:.4g} to {change.b:.4g} {change.unit}"
        console.print(Text(words, "bold red"))
    return FAILED if failed else PASSED


def _condition(text: str) -> Condition:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
