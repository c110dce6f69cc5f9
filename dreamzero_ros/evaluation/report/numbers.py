# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NONE = "–"
"""Stands for a value that does not exist."""
DIGITS = 3
"""Significant digits."""
SHARE = "ratio"
"""Unit of shares of 1, which are shown in percent."""


def number(value: float | None) -> str:
    """Three significant digits, without an exponent where that reads well."""
    if value is None:
        return NONE
    if abs(value) >= 10**DIGITS:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.{DIGITS}g}"


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit: shares in percent, times under a second in milliseconds."""
    shown, word = _scaled(value, unit)
    return number(shown) if shown is None or not word else f"{number(shown)} {word}"


def interval(entry: Mapping[str, Any], unit: str) -> str:
    """As "0.039 to 0.046 rad"; empty where there is no interval."""
    if entry["low"] is None or entry["high"] is None:
        return ""
    high = quantity(entry["high"], unit)
    low, word = _scaled(entry["low"], unit)
    same = word == _scaled(entry["high"], unit)[1]
    return f"{number(low) if same else quantity(entry['low'], unit)} to {high}"


def duration(seconds: float) -> str:
    """As "1 h 02 min", "3 min 05 s" or "12.3 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def _scaled(value: float | None, unit: str) -> tuple[float | None, str]:
    if unit == SHARE:
        return None if value is None else 100 * value, "%"
    if unit == "s" and value is not None and abs(value) < 1:
        return 1000 * value, "ms"
    return value, unit.replace("^2", "²").replace("^3", "³")
