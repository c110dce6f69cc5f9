# SPDX-License-Identifier: Apache-2.0
"""A comparison as a table."""

from __future__ import annotations

from math import isfinite, isnan

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dreamzero_ros.evaluation.compare import Change, Comparison
from dreamzero_ros.evaluation.report.numbers import NONE, number
from dreamzero_ros.evaluation.statistics import LEVEL
from dreamzero_ros.evaluation.table import WIDTH

STYLES = {"better": "bold green", "worse": "bold red", "changed": "bold yellow"}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Prints every metric on both sides, what changed, and how sure that is."""
    table = Table(box=None, pad_edge=False, width=WIDTH, header_style="dim")
    table.add_column("metric", ratio=1, overflow="fold")
    for heading in ("a", "b", "change", f"b - a, {LEVEL:g} %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("b is", no_wrap=True)
    for name, change in comparison.changes.items():
        verdict = Text(change.verdict, STYLES.get(change.verdict, "dim"))
        table.add_row(name, *_cells(change), change.unit, verdict)
    console.print(table)
    console.print(f"over the {comparison.episodes} episodes that both have; unclear: may be chance")
    if comparison.episodes == 1:
        console.print("with one episode there are no intervals: play more of them to tell chance apart")
    for side, names in (("a", comparison.only_a), ("b", comparison.only_b)):
        if names:
            console.print(Text(f"only in {side}, left out: {', '.join(names)}", "yellow"))


def _cells(change: Change) -> tuple[str, str, str, str]:
    a, b, low, high = (
        number(None if isnan(value) else value) for value in (change.a, change.b, change.low, change.high)
    )
    sign = "+" if change.relative > 0 else ""
    relative = f"{sign}{number(100 * change.relative)} %" if isfinite(change.relative) else NONE
    return a, b, relative, NONE if isnan(change.low) else f"{low} to {high}"
