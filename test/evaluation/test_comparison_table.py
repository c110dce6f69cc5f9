# SPDX-License-Identifier: Apache-2.0
"""A comparison on the console."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dreamzero_ros.evaluation.compare import Change, Comparison
from dreamzero_ros.evaluation.comparison_table import print_comparison

pytestmark = pytest.mark.cpu

NAN = float("nan")
WORSE = Change(unit="rad", better="lower", a=0.1, b=0.15, low=0.02, high=0.08)
UNKNOWN = Change(unit="rad/s^3", better="lower", a=0.0, b=NAN, low=NAN, high=NAN)


def printed(comparison: Comparison) -> str:
    console = Console(width=100, file=io.StringIO())
    print_comparison(console, comparison)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_every_metric_is_a_row_of_a_table_that_fits() -> None:
    changes = {"rmse": WORSE, "spliced_jump_velocity_max_m": UNKNOWN}
    lines = printed(Comparison(changes=changes, episodes=12, only_a=(), only_b=())).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1].split() == ["rmse", "0.1", "0.15", "+50", "%", "0.02", "to", "0.08", "rad", "worse"]
    assert lines[2].split() == ["spliced_jump_velocity_max_m", "0", "–", "–", "–", "rad/s^3", "unclear"]
    assert "over the 12 episodes that both have" in lines[3]
    assert len(lines) == 4


def test_what_is_left_out_is_named() -> None:
    text = printed(Comparison(changes={}, episodes=1, only_a=("one", "[red]two"), only_b=("three",)))
    assert "only in a, left out: one, [red]two" in text
    assert "only in b, left out: three" in text
    assert "no intervals" in text
