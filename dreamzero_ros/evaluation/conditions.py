# SPDX-License-Identifier: Apache-2.0
"""Conditions on a comparison under which a check fails, as people write them.

``rmse>+5%``     b is more than 5 % of a above a
``rmse>+0.01``   b is more than 0.01 [unit of the metric] above a
``direction<-2%``  b is more than 2 % of a below a
``rmse>0.1``     b is above 0.1, whatever a is
``direction<90%``  b is below 90 %, whatever a is; of shares only

A sign makes it a change from a to b. Intervals play no part: what is more than the limit fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isnan

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.evaluation.compare import Change, Comparison

_FORM = re.compile(
    r"\s*(?P<metric>[^<>\s]+)\s*(?P<side>[<>])\s*"
    r"(?P<sign>[+-]?)(?P<number>\d+\.?\d*(e-?\d+)?|\.\d+)\s*(?P<percent>%?)\s*"
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition; see the module."""

    text: str
    """As it is written."""
    metric: str
    above: bool
    """Whether it fails above the limit; below it otherwise."""
    limit: float
    """As a share of 1 where `percent`, else in the unit of the metric."""
    change: bool
    """Whether the limit is for the change from a to b; for b itself otherwise."""
    percent: bool


def parse(text: str) -> Condition:
    """Reads a condition.

    Raises:
        ValueError: It is none; the text says how one looks.
    """
    found = _FORM.fullmatch(text)
    if not found:
        forms = "'rmse>+5%', 'rmse>0.1' or 'direction<-2%'"
        raise ValueError(f"condition: expected one such as {forms}, got {text!r}")
    number, percent = float(found["sign"] + found["number"]), bool(found["percent"])
    return Condition(
        text=text.strip(),
        metric=found["metric"],
        above=found["side"] == ">",
        limit=number / 100 if percent else number,
        change=bool(found["sign"]),
        percent=percent,
    )


def fails(comparison: Comparison, condition: Condition) -> bool:
    """Whether b is beyond the limit.

    Raises:
        ValueError: The metric is not in both reports, has no value in one of them, or gets worse in the other
            direction; or the limit is in percent, but the metric is no share.
    """
    change = _change(comparison, condition)
    value = change.b
    if condition.change:
        value = change.relative if condition.percent else change.difference
    return value > condition.limit if condition.above else value < condition.limit


def _change(comparison: Comparison, condition: Condition) -> Change:
    """The metric of a condition, for which the condition has a meaning."""
    changes, name = comparison.changes, condition.metric
    if name not in changes:
        raise _error(condition, "a metric of both reports", repr(name), nearest(name, changes))
    change = changes[name]
    if isnan(change.difference):
        fix = "look into the notices of the reports"
        raise _error(condition, f"values of {name} in both reports", f"{change.a:g} and {change.b:g}", fix)
    if change.better == ("higher" if condition.above else "lower"):
        side = "<" if condition.above else ">"
        fix = f"of {name} {change.better} is better"
        raise _error(condition, f"{name}{side}...", "what fails when b is better", fix)
    if condition.percent and not condition.change and change.unit != "ratio":
        fix = "write +5% for a change, or the limit without %"
        raise _error(condition, f"a limit in {change.unit or 'plain numbers'}", "one in percent", fix)
    return change


def _error(condition: Condition, expected: str, got: str, fix: str) -> ValueError:
    return ValueError(f"{condition.text}: expected {expected}, got {got}; {fix}")
