# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NONE = "–"
"""Stands for a value that does not exist."""
DIGITS = 3
"""Significant digits."""
LARGE = 100_000
"""From here on with an exponent."""
SHARE = "ratio"
"""Unit of shares of 1, which are shown in percent."""


def number(value: float | None) -> str:
    """Three significant digits, without an exponent where that reads well."""
    if value is None:
        return NONE
    if 10**DIGITS <= abs(value) < LARGE:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.{DIGITS}g}"


def scale(value: float | None, unit: str) -> tuple[float, str]:
    """By what to multiply values of about this size, and their unit then: shares in %, short times in ms."""
    if unit == SHARE:
        return 100.0, "%"
    if unit == "s" and value is not None and abs(value) < 1:
        return 1000.0, "ms"
    return 1.0, unit.replace("^2", "²").replace("^3", "³")


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit."""
    if value is None:
        return NONE
    factor, word = scale(value, unit)
    return f"{number(factor * value)} {word}".rstrip()


def interval(entry: Mapping[str, Any], unit: str) -> str:
    """As "0.039 to 0.046", in the unit in which the value is shown; empty where there is no interval."""
    if entry["low"] is None or entry["high"] is None:
        return ""
    factor, _ = scale(entry["value"], unit)
    return f"{number(factor * entry['low'])} to {number(factor * entry['high'])}"


def duration(seconds: float) -> str:
    """As "1 h 02 min", "3 min 05 s" or "12.3 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
