# SPDX-License-Identifier: Apache-2.0
"""The subcommands that play bags through a policy and report what it would have done."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.cluster import LOCAL
from dreamzero_ros.evaluation.inspection import Inspection
from dreamzero_ros.evaluation.job import Job, Unit
from dreamzero_ros.evaluation.options import add_robot, pair
from dreamzero_ros.evaluation.plan import Planned, bags_of, make_plan
from dreamzero_ros.evaluation.report.write import REPORT
from dreamzero_ros.evaluation.run import failures, play_all, report
from dreamzero_ros.evaluation.spans import Split
from dreamzero_ros.evaluation.summary_table import print_summary
from dreamzero_ros.evaluation.table import WIDTH, print_inspection
from dreamzero_ros.policy.parameters import build, parameter_file, parse
from dreamzero_ros.policy.policy_parameters import PolicyParameters

COMPLETE, INCOMPLETE, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""
NODE = "policy_node"
"""Whose parameters a parameter file must have."""
RECORDED = "recorded"
"""Name of the policy that is the recording itself."""

RUN_HELP = """\
Plays bags through a policy as the policy node would live them, and reports what it would have done.

The observations are the recorded ones all along (teacher-forced): after each chunk the policy sees what the
cameras saw then, not what would have come of its own motion. Buffers, policy, smoothing, splicing and limits
are those of the node, and so are its parameters.

examples:
  dreamzero-evaluate run session1.mcap --embodiment droid_franka --checkpoint <folder or hub id> \\
      --instruction "put the cup on the plate"
  dreamzero-evaluate run sessions/ --embodiment droid_franka --policy hold --instruction "tidy up" --gap 1
  dreamzero-evaluate run *.mcap --embodiment yam --parameters policy_node.yaml --set dit_steps=5 \\
      --episodes-topic /instruction --latency 0.6 --workers 2 --out yam_5_steps
"""
RUN_EPILOG = """\
bags: rosbag2 folders, .mcap, .db3 and .bag files, folders of bags, patterns, or .txt files that list them,
one in a line. A folder of files that follow one another within 1 s is one recording that was split.

--episodes-times: lines of begin, end [s after the begin of the bag] and instruction, separated by tabs,
semicolons, commas or blanks, as spreadsheets save them; lines that begin with # are remarks.

What is finished is not played again: after an interruption the same command goes on where it was. A bag that
cannot be used is named in the report, and the others are evaluated.

exit codes: 0 complete, 1 something of a bag is missing, or the policy was not asked about an episode (it is
printed), 2 wrong usage, 130 interrupted
"""


def add_run(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the arguments of `run`."""
    add = parser.add_argument
    add("bags", nargs="+", help="what is played; see below")
    add("--out", type=Path, default=Path("evaluation"), help="folder of the evaluation (%(default)s)")
    add_robot(parser)
    choices = ("dreamzero", "hold", "wave", "replay", RECORDED)
    add("--policy", choices=choices, help="what is evaluated; recorded: the recording itself, a check")
    add("--checkpoint", help="weights: a folder or a hub id such as owner/name")
    add("--parameters", type=Path, metavar="FILE", help="parameter file of the policy node")
    add(
        "--set",
        action="append",
        default=[],
        type=partial(pair, "="),
        metavar="NAME=VALUE",
        help="a parameter of the policy node, such as speed_scale=0.5; may be repeated",
    )
    add(
        "--latency",
        type=float,
        metavar="S",
        help="from question to answer [s], as on the robot's machine; without it: what a call takes here, "
        "and the figures differ a little from run to run",
    )
    add("--instruction", default="", help="what the robot was asked to do, where nothing else says it")
    episodes = parser.add_mutually_exclusive_group()
    episodes.add_argument("--gap", type=float, metavar="S", help="a longer silence ends an episode [s]")
    episodes.add_argument(
        "--episodes-topic",
        metavar="TOPIC",
        help="std_msgs/String: each message begins an episode, '' ends it",
    )
    episodes.add_argument(
        "--episodes-times", type=Path, metavar="FILE", help="CSV of begin, end [s] and an instruction"
    )
    add(
        "--shortest", type=float, default=2.0, metavar="S", help="shorter episodes are left out (%(default)s)"
    )
    add("--workers", type=_count, default=1, help="processes, each with a policy of its own (%(default)s)")
    add(
        "--ray",
        nargs="?",
        const=LOCAL,
        default="",
        metavar="ADDRESS",
        help="the processes are on a Ray cluster, such as ray://head:10001 or auto, whose machines all have "
        "this package and see bags and output; without an address: on this machine",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluates; returns the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    console, errors = Console(width=WIDTH), Console(width=WIDTH, stderr=True)
    try:
        job = _job(options)
        bags = bags_of(options.bags)
        plan = make_plan(job, bags, options.out, partial(_look, console) if len(bags) == 1 else _pass)
        failed = _played(job, plan, options)
        summary = report(plan, failed, options.out)
    except KeyboardInterrupt:
        errors.print(f"interrupted: the same command goes on with what is finished in {options.out}")
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError) as error:
        errors.print(Text(str(error), "bold red"))
        return USAGE if isinstance(error, ValueError) else INCOMPLETE
    return _say(console, errors, plan, failed, summary, options.out)


def _job(options: argparse.Namespace) -> Job:
    """What the options ask for.

    Raises:
        ValueError: They do not fit together; says what to change.
    """
    values = parameter_file(options.parameters, NODE) if options.parameters else {}
    values |= parse(PolicyParameters, dict(options.set))
    values["embodiment"] = options.embodiment
    values["embodiment_parameters"] = [f"{name}={value}" for name, value in options.parameter] or [""]
    if options.checkpoint:
        values["checkpoint"] = options.checkpoint
    recorded = options.policy == RECORDED
    if options.policy:
        values["policy"] = "hold" if recorded else options.policy
    if options.latency is not None and options.latency < 0:
        raise ValueError(f"--latency: expected 0 s or more, got {options.latency:g}")
    split = Split(
        instruction=options.instruction,
        gap_s=options.gap,
        topic=options.episodes_topic,
        times=options.episodes_times,
        shortest_s=options.shortest,
    )
    job = Job(
        parameters=build(PolicyParameters, values),
        recorded=recorded,
        latency_s=options.latency,
        split=split,
        topics=dict(options.topic),
        namespace=options.namespace,
    )
    job.streams()
    return job


def _played(job: Job, plan: Sequence[Planned], options: argparse.Namespace) -> dict[str, str]:
    units = [unit for planned in plan for unit in planned.units]
    with tqdm(
        total=round(sum(_seconds(unit) for unit in units), 1),
        unit=" s of bag",
        disable=None,
        bar_format="{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f}{unit}, {remaining} left",
    ) as bar:
        return play_all(job, plan, options.out, options.workers, bar.update, options.ray)


def _say(
    console: Console,
    errors: Console,
    plan: Sequence[Planned],
    failed: dict[str, str],
    summary: Mapping[str, Any] | None,
    out: Path,
) -> int:
    incomplete = list(failures(plan, failed))
    if summary is not None:
        print_summary(console, summary)
        console.print(f"\nThe report: {out / REPORT}", soft_wrap=True)
    for _, words in incomplete:
        errors.print(Text(words, "bold red"))
    return COMPLETE if summary is not None and not incomplete and not summary["incomplete"] else INCOMPLETE


def _look(console: Console, bag: Bag, inspection: Inspection) -> None:
    print_inspection(console, bag, inspection)


def _pass(bag: Bag, inspection: Inspection) -> None:
    """Of many bags nobody reads the tables."""


def _seconds(unit: Unit) -> float:
    return (unit.span.end_ns - unit.span.start_ns) / 1e9


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry of `ros2 run dreamzero_ros evaluate_bag`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="evaluate_bag",
        description=RUN_HELP,
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
