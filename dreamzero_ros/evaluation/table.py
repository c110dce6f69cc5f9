# SPDX-License-Identifier: Apache-2.0
"""An inspection as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dreamzero_ros.evaluation.bag import Bag, Topic
from dreamzero_ros.evaluation.inspection import Inspection, StreamReport
from dreamzero_ros.evaluation.streams import Kind

WIDTH = 100
"""Columns of the tables."""


def print_inspection(console: Console, bag: Bag, inspection: Inspection) -> None:
    """Prints what is in a bag, what is used of it, and whether it can be used."""
    duration_s = (inspection.recorded_ns[1] - inspection.recorded_ns[0]) / 1e9
    begin, end = inspection.common_ns
    possible, images = inspection.frames
    console.print(Text(f"{bag.path}: {duration_s:.1f} s, {len(bag.topics)} topics", "bold"))
    console.print(_streams(inspection.streams))
    if inspection.unused:
        console.print(Text("\nnot used", "bold"))
        console.print(_topics(inspection.unused))
    for notice in inspection.notices:
        _print_line(console, "note", "yellow", notice)
    for problem in inspection.problems:
        _print_line(console, "problem", "bold red", str(problem))
    if inspection.usable:
        there = f"all streams are there for {(end - begin) / 1e9:.1f} s"
        words = f"usable: {there}, and a frame at {possible} of {images} images"
        console.print(Text(words, "bold green"))
    else:
        console.print(Text("not usable: see the problems above", "bold red"))


def _streams(reports: Sequence[StreamReport]) -> Table:
    table = _table()
    table.add_column(Text("stream\ntopic"), ratio=1, overflow="fold")
    for heading in ("count\n", "rate\n[Hz]", "gaps\n", "longest\n[s]", "log - stamp\n[ms]"):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    table.add_column("content\n", overflow="fold", max_width=20)
    for report in reports:
        name = Text(report.stream.name, "bold" if not report.problems else "bold red")
        table.add_row(name.append(f"\n{report.stream.topic}", "default"), *map(Text, _cells(report)))
    return table


def _cells(report: StreamReport) -> tuple[str, str, str, str, str, str]:
    times = report.times
    if not times.count:
        return "0", "", "", "", "", report.content or (report.topic.type if report.topic else "no such topic")
    if report.stream.kind is Kind.COMMANDS:  # they come when they come, and their stamps may be 0 for "now"
        return str(times.count), f"{times.rate_hz:.1f}", "", "", "", report.content
    delays = f"{times.least_delay_ns / 1e6:.0f} to {times.most_delay_ns / 1e6:.0f}"
    longest = f"{times.longest_ns / 1e9:.3f}"
    return str(times.count), f"{times.rate_hz:.1f}", str(times.gaps), longest, delays, report.content


def _topics(topics: Sequence[Topic]) -> Table:
    table = _table()
    table.add_column("topic", ratio=1, overflow="fold")
    table.add_column("type", ratio=1, overflow="fold")
    table.add_column("messages", justify="right")
    for topic in topics:
        table.add_row(Text(topic.name), Text(topic.type), str(topic.count))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, width=WIDTH, header_style="dim")


def _print_line(console: Console, label: str, style: str, words: str) -> None:
    row = Table(box=None, show_header=False, pad_edge=False, width=WIDTH)
    row.add_column(width=7)
    row.add_column(ratio=1, overflow="fold")
    row.add_row(Text(label, style), Text(words))
    console.print(row)
