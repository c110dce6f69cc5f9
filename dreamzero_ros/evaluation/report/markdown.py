# SPDX-License-Identifier: Apache-2.0
"""The table for a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dreamzero_ros.evaluation.report.numbers import duration, interval, number, quantity, scale
from dreamzero_ros.evaluation.report.overview import BASELINES

WIDTH = 99
"""Longest line."""
EXPLANATION = (
    "Intervals are 95 %, bootstrap over episodes. *Hold still* predicts that the arm stays where it is,",
    "*repeat* that it does again what it has just done.",
)
SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>|#~"})
"""What would be read as Markdown or HTML in a name."""


def markdown(summary: Mapping[str, Any]) -> str:
    """Metric, value with interval, and the baselines, under 100 columns.

    Args:
        summary: Content of report.json.
    """
    headings = ["metric", "value", "95 %", *(name for _, name in BASELINES)]
    rows = [_row(name, metric) for name, metric in summary["metrics"].items() if metric["value"] is not None]
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    lines = [*_headline(summary), "", _line(headings, widths), _rule(widths)]
    lines += [_line(row, widths) for row in rows]
    lines += ["", *EXPLANATION]
    if summary["failed"]:
        lines += ["", "Could not be evaluated:", ""]
        lines += [_short(f"- {_plain(f['bag'])}: {_plain(f['error'])}") for f in summary["failed"]]
    if summary["incomplete"]:
        lines += ["", "Not complete:", ""]
        lines += [_short(f"- {_plain(f['episode'])}: {_plain(f['error'])}") for f in summary["incomplete"]]
    return "\n".join(lines) + "\n"


def _headline(summary: Mapping[str, Any]) -> list[str]:
    episodes = summary["episodes"]
    total = duration(sum(episode["duration_s"] for episode in episodes))
    count = f"{len(episodes)} episode{'' if len(episodes) == 1 else 's'}"
    return [
        _short(f"Policy {_plain(summary['policy'])} on {_plain(summary['embodiment'])},"),
        f"{count}, {total}, against the recorded {_plain(summary['reference'])}.",
    ]


def _row(name: str, metric: Mapping[str, Any]) -> list[str]:
    """The value has the unit, which holds for the whole row."""
    unit = metric["unit"]
    factor, _ = scale(metric["value"], unit)
    baselines = [_scaled(metric[key], factor) for key, _ in BASELINES]
    return [name, quantity(metric["value"], unit), interval(metric, unit), *baselines]


def _scaled(entry: Mapping[str, Any] | None, factor: float) -> str:
    return "" if entry is None or entry["value"] is None else number(factor * entry["value"])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *rest])} |"


def _rule(widths: Sequence[int]) -> str:
    first, *rest = widths
    return "|".join(["", "-" * (first + 2), *("-" * (width + 1) + ":" for width in rest), ""])


def _plain(text: str) -> str:
    """A text as it is, in one line."""
    return " ".join(str(text).split()).translate(SPECIAL)


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip("\\") + "…"
