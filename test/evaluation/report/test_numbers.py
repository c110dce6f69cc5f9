# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them."""

from __future__ import annotations

import pytest

from dreamzero_ros.evaluation.report.numbers import duration, interval, quantity

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.04213, "rad", "0.0421 rad"),
        (0.871, "ratio", "87.1 %"),
        (0.3124, "s", "312 ms"),
        (1.214, "s", "1.21 s"),
        (12345.6, "rad/s^3", "12\N{NARROW NO-BREAK SPACE}346 rad/s³"),
        (-1e6, "rad", "-1e+06 rad"),
        (7.0, "", "7"),
        (None, "rad", "–"),
        (None, "ratio", "–"),
    ],
)
def test_a_quantity(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_an_interval_has_the_unit_of_its_value() -> None:
    assert interval({"value": 0.15, "low": 0.1, "high": 0.2}, "rad") == "0.1 to 0.2"
    assert interval({"value": 0.95, "low": 0.9, "high": 1.2}, "s") == "900 to 1\N{NARROW NO-BREAK SPACE}200"
    assert interval({"value": 0.95, "low": None, "high": None}, "s") == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.25, "4.2 s"), (185.2, "3 min 05 s"), (3720, "1 h 02 min"), (59.99, "60.0 s")]
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
