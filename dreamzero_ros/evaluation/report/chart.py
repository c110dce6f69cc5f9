# SPDX-License-Identifier: Apache-2.0
"""Small line charts as SVG; the colours come from the style of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from dreamzero_ros.evaluation.report.numbers import number

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 40
"""Margins of the plotting area."""
X_TICKS, Y_TICKS = 6, 5
"""About so many at most."""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    values: Sequence[float | None]
    """One for each x; None where there is none."""
    style: str
    """CSS class."""


def line_chart(
    x: Sequence[float], lines: Sequence[Line], x_label: str, y_label: str, from_zero: bool
) -> Markup:
    """A chart of lines over the same x; empty where there is no value at all.

    Args:
        x: Ascending whole numbers.
        lines: Drawn in this order, the last one on top.
        x_label: What x is, with its unit.
        y_label: Likewise.
        from_zero: Whether the y axis begins at 0.
    """
    values = [value for line in lines for value in line.values if value is not None]
    if not values:
        return Markup("")
    y_ticks = ticks(min(0.0, *values) if from_zero else min(values), max(values), Y_TICKS)
    about = max(1, min(X_TICKS, int(x[-1] - x[0])))
    x_ticks = [tick for tick in ticks(x[0], x[-1], about) if x[0] <= tick <= x[-1]]
    across = _Axis(x[0], x[-1], LEFT, WIDTH - RIGHT)
    up = _Axis(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [_grid(x_ticks, y_ticks, across, up), _labels(x_label, y_label)]
    parts += [_line(x, line, across, up, x_label, y_label) for line in lines]
    words = f"{y_label} over {x_label}: " + "; ".join(_in_words(line) for line in lines)
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, words, Markup("").join(parts)
    )


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of 10) that enclose a range, about so many."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda size: abs(span / size - about))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class _Axis:
    """Values -> places."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low or 1.0)
        return round(self.begin + share * (self.end - self.begin), 1)


def _grid(x_ticks: Sequence[float], y_ticks: Sequence[float], across: _Axis, up: _Axis) -> Markup:
    line = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    text = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
    parts = [line.format(LEFT, WIDTH - RIGHT, up(y), up(y)) for y in y_ticks]
    parts += [text.format(LEFT - 6, up(y) + 4, "end", f"{y:g}") for y in y_ticks]
    parts += [text.format(across(x), HEIGHT - BOTTOM + 16, "middle", f"{x:g}") for x in x_ticks]
    return Markup("").join(parts)


def _labels(x_label: str, y_label: str) -> Markup:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return Markup(
        '<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text class="label" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>'
    ).format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_label, middle, y_label)


def _line(x: Sequence[float], line: Line, across: _Axis, up: _Axis, x_label: str, y_label: str) -> Markup:
    """Straight pieces between values that exist, and points that say their value to the mouse."""
    drawn = []
    for exists, piece in groupby(zip(x, line.values, strict=True), key=lambda pair: pair[1] is not None):
        points = [(a, b) for a, b in piece if b is not None]
        if exists:
            track = " ".join(f"{across(a)},{up(b)}" for a, b in points)
            drawn.append(Markup('<polyline class="line {}" points="{}"/>').format(line.style, track))
        drawn += [
            Markup('<circle class="point {}" cx="{}" cy="{}" r="2.5"><title>{}</title></circle>').format(
                line.style, across(a), up(b), f"{line.name}: {y_label} {number(b)}, {x_label} {number(a)}"
            )
            for a, b in points
        ]
    return Markup("").join(drawn)


def _in_words(line: Line) -> str:
    known = [value for value in line.values if value is not None]
    return f"{line.name} {number(known[0])} to {number(known[-1])}" if known else f"{line.name} unknown"
