# SPDX-License-Identifier: Apache-2.0
"""The one page of a report, in Markdown: what is worst at the top, then all that was measured."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from dreamzero_ros.bench.gpu.results import FAULTS, write_whole

WIDTH = 100
"""Of the page [columns]."""
ENVIRONMENT = (
    "device",
    "driver",
    "cuda",
    "torch",
    "triton",
    "torchao",
    "diffusers",
    "transformers",
    "python",
)

Told = Mapping[str, Any]


def write_page(
    path: Path, stages: Sequence[Told], waiting: Sequence[str], sizes: str, seconds: float
) -> None:
    """Write the page of what is known so far.

    Args:
        path: The file.
        stages: Content of the JSON files of the stages that ended.
        waiting: Titles of the stages that did not begin.
        sizes: Name of the sizes.
        seconds: Time since the report began [s].
    """
    known = (stage["environment"] for stage in stages if stage.get("environment"))
    environment: Mapping[str, str] = next(known, {})
    told = [f"{name} {environment[name]}" for name in ENVIRONMENT if name in environment]
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    lines = ["# GPU report", "", _wrapped(f"{date}, {seconds:.0f} s, sizes: {sizes}; {'; '.join(told)}.")]
    lines += ["", "## What is worst", "", *_worst(stages)]
    goals = [goal for stage in stages for result in stage["results"] for goal in result["goals"]]
    if goals:
        cells = [(g["what"], _figure(g, "value"), _figure(g, "goal"), _reached(g)) for g in goals]
        lines += ["", "## Goals", "", *_table(("", "measured", "goal", "reached"), cells)]
    rows = [(s["title"], s["status"], f"{s['seconds']:.0f} s") for s in stages]
    rows += [(title, "not run", "") for title in waiting]
    lines += ["", "## Stages", "", *_table(("stage", "", "time"), rows)]
    for stage in stages:
        lines += ["", f"## {stage['title']}", "", *_stage(stage)]
    write_whole(path, "\n".join(lines) + "\n")


def _worst(stages: Sequence[Told]) -> list[str]:
    """List what is wrong first, then goals by how far they were missed."""
    found = [f"- **{s['title']}**: {s['status']}" for s in stages if s["status"] in FAULTS]
    found += [
        f"- **{result['part']}** is wrong: "
        + (
            result["error"].splitlines()[0]
            if result["error"]
            else ", ".join(check["what"] for check in result["checks"] if not check["right"])
        )
        for stage in stages
        for result in stage["results"]
        if not result["right"]
    ]
    missed = [
        goal
        for stage in stages
        for result in stage["results"]
        for goal in result["goals"]
        if goal["shortfall"] > 1
    ]
    found += [
        f"- {goal['what']}: {_figure(goal, 'value')}, {goal['shortfall']:.2f} times as bad as the goal"
        for goal in sorted(missed, key=lambda goal: -goal["shortfall"])
    ]
    return [_wrapped(line, "  ") for line in found] or ["Nothing is wrong, and no goal was missed."]


def _stage(stage: Told) -> list[str]:
    lines = []
    if stage["words"]:
        lines += ["```text", *(line[:WIDTH] for line in stage["words"].splitlines()), "```", ""]
    for result in _grouped(stage["results"]):
        lines += [f"### {result['part']}", ""]
        lines += [_wrapped(f"{result['title']}: {result['status']}, {result['seconds']:.1f} s."), ""]
        if result["error"]:
            lines += ["```text", *(line[:WIDTH] for line in result["error"].splitlines()), "```", ""]
        if result["rows"]:
            lines += [*_table(result["columns"], result["rows"]), ""]
        lines += [_wrapped(f"- {note}", "  ") for note in result["notes"]]
        lines.append("")
    return lines[:-1]


def _grouped(results: Sequence[Told]) -> Iterator[Told]:
    """Join results one after the other that share a table."""
    for group, members in groupby(results, key=lambda result: result["group"]):
        if not group:
            yield from members
            continue
        first, *others = members
        all_of_them = [first, *others]
        yield {
            **first,
            "part": group,
            "status": next((one["status"] for one in all_of_them if not one["right"]), first["status"]),
            "seconds": sum(one["seconds"] for one in all_of_them),
            "rows": [row for one in all_of_them for row in one["rows"]],
            "notes": list(dict.fromkeys(note for one in all_of_them for note in one["notes"])),
            "error": "\n".join(one["error"] for one in all_of_them if one["error"]),
        }


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Make a table whose columns are as wide as they need to be."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (columns, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def _figure(goal: Told, name: str) -> str:
    value = goal[name]
    return f"{value:.3f} {goal['unit']}" if goal["unit"] else f"{100 * value:.0f} %"


def _reached(goal: Told) -> str:
    return "yes" if goal["shortfall"] <= 1 else f"{goal['shortfall']:.2f} times as bad"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
