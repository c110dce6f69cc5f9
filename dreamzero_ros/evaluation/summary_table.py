# SPDX-License-Identifier: Apache-2.0
"""The few numbers that people want first, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dreamzero_ros.evaluation.report.numbers import duration, interval, quantity
from dreamzero_ros.evaluation.report.overview import BASELINES, CARDS
from dreamzero_ros.evaluation.table import WIDTH

HOLDS = 3
"""Reasons of holds that are listed."""


def print_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """Prints the first metrics of a report beside their baselines, and why the arm would have been held.

    Args:
        console: Printed to.
        summary: Content of report.json.
    """
    metrics, episodes = summary["metrics"], summary["episodes"]
    total = duration(sum(episode["duration_s"] for episode in episodes))
    count = f"{len(episodes)} episode{'' if len(episodes) == 1 else 's'}, {total}"
    words = (
        f"{summary['policy']} on {summary['embodiment']}: {count}, against recorded {summary['reference']}"
    )
    console.print(Text(f"{words}\n", "bold"))
    table = Table(box=None, pad_edge=False, width=WIDTH, header_style="dim")
    table.add_column("", ratio=1)
    for heading in ("value", "95 %", *(name for _, name in BASELINES)):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, label in CARDS:
        if name in metrics and metrics[name]["value"] is not None:
            table.add_row(label, *_cells(metrics[name]))
    console.print(table)
    for entry in summary["incomplete"]:
        console.print(Text(f"not complete: {entry['episode']}: {entry['error']}", "bold red"))
    holds = sorted(summary["holds"].items(), key=lambda entry: -entry[1])
    for reason, count in holds[:HOLDS]:
        console.print(Text(f"{count} x held: {reason}", "yellow"))
    if len(holds) > HOLDS:
        console.print(f"and {len(holds) - HOLDS} further reasons: see the report")


def _cells(metric: Mapping[str, Any]) -> list[str]:
    unit = metric["unit"]
    baselines = [quantity(metric[key]["value"], unit) if metric[key] else "" for key, _ in BASELINES]
    return [quantity(metric["value"], unit), interval(metric, unit), *baselines]
