# SPDX-License-Identifier: Apache-2.0
"""Two reports against each other."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from episodes import make_episode, waves

from dreamzero_ros.evaluation.compare import Change, compare
from dreamzero_ros.evaluation.measures import measure
from dreamzero_ros.evaluation.summary import summarise

pytestmark = pytest.mark.cpu

HARD = (0.05, 0.1, 0.3, 0.2, 0.6, 0.15, 0.02, 0.4)
"""Errors of episodes that differ much [rad]."""


def report(*errors: float, seed: int = 0, first: int = 0, **other: Any) -> dict[str, Any]:
    """One episode of the same recording for each error, after a turn through JSON as in a file."""
    named = []
    for number, error in enumerate(errors, first):
        episode = make_episode(
            predicted=lambda t, error=error: waves(t) + error, number=number, seed=seed + number, **other
        )
        named.append((f"session1-{number:03d}", measure(episode)))
    content: dict[str, Any] = json.loads(json.dumps(summarise(named)))
    return content


def test_a_report_equals_itself() -> None:
    one = report(*HARD)
    comparison = compare(one, one)
    assert list(comparison.changes) == list(one["metrics"])
    assert {change.verdict for change in comparison.changes.values()} == {"equal"}
    assert (comparison.episodes, comparison.only_a, comparison.only_b) == (len(HARD), (), ())
    for name, change in comparison.changes.items():
        assert change.a == change.b == pytest.approx(one["metrics"][name]["value"], nan_ok=True), name


def test_a_small_change_of_every_episode_shows_though_the_episodes_differ_much() -> None:
    a, b = report(*HARD), report(*(error + 0.01 for error in HARD))
    assert b["metrics"]["mae"]["value"] < a["metrics"]["mae"]["high"]
    change = compare(a, b).changes["mae"]
    assert change.difference == pytest.approx(0.01)
    assert (change.low, change.high) == pytest.approx((0.01, 0.01))
    assert change.relative == pytest.approx(0.01 / np.mean(HARD))
    assert change.verdict == "worse"
    assert compare(b, a).changes["mae"].verdict == "better"


def test_a_change_that_not_all_episodes_share_is_unclear() -> None:
    mixed = [error + (0.05 if number % 2 else -0.049) for number, error in enumerate(HARD)]
    change = compare(report(*HARD), report(*(abs(error) for error in mixed))).changes["mae"]
    assert change.difference > 0
    assert change.low < 0 < change.high
    assert change.verdict == "unclear"


def test_changing_sides_turns_everything_around() -> None:
    a, b = report(*HARD), report(*HARD[::-1], seed=3)
    there, back = compare(a, b), compare(b, a)
    for name, change in there.changes.items():
        other = back.changes[name]
        assert change.difference == pytest.approx(-other.difference, nan_ok=True), name
        assert (change.low, change.high) == pytest.approx((-other.high, -other.low), nan_ok=True), name


def test_episodes_are_paired_by_name_and_the_rest_is_named() -> None:
    a, b = report(0.1, 0.2, 0.3), report(0.2, 0.3, 0.9, first=1)
    b["episodes"].reverse()
    comparison = compare(a, b)
    assert (comparison.episodes, comparison.only_a) == (2, ("session1-000",))
    assert comparison.only_b == ("session1-003",)
    change = comparison.changes["mae"]
    assert (change.a, change.b) == (pytest.approx(0.25), pytest.approx(0.25))
    assert change.verdict == "equal"


@pytest.mark.parametrize(("field", "value"), [("start_ns", 1), ("bag", "elsewhere/session2.mcap")])
def test_another_recording_is_another_episode(field: str, value: Any) -> None:
    a = report(0.1, 0.2)
    b = copy.deepcopy(a)
    b["episodes"][0][field] = value
    comparison = compare(a, b)
    assert (comparison.only_a, comparison.only_b) == (("session1-000",), ("session1-000",))


def test_a_recording_that_was_moved_is_the_same() -> None:
    a, b = report(0.1, 0.2), report(0.1, 0.2, bag="/elsewhere/session1.mcap")
    assert compare(a, b).episodes == 2


def test_one_episode_shows_nothing_but_its_values() -> None:
    change = compare(report(0.1), report(0.2)).changes["rmse"]
    assert change.difference == pytest.approx(0.1) and np.isnan(change.low)
    assert change.verdict == "unclear"


def test_no_interval_of_what_both_say_of_one_episode_only() -> None:
    a, b = report(0.1, 0.2), report(0.2, 0.3)
    b["episodes"][1]["tallies"]["sums"]["mae"] = [[0, 0]] * 3
    changes = compare(a, b).changes
    assert np.isnan(changes["mae"].low) and changes["mae@1"].low == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("b", "words"),
    [
        ({"embodiment": "yam"}, "embodiment: .*'small_robot' and 'yam'"),
        ({"reference": "joint states"}, "reference: .*'commands' and 'joint states'"),
        ({"horizon": 8}, "horizon: .*24 and 8"),
        ({"joints": ("a", "b", "gripper")}, "joints: .*'joint1, joint2, gripper' and 'a, b, gripper'"),
        ({"first": 5}, "episodes: .*session1-000, session1-001 and session1-005, session1-006"),
    ],
)
def test_what_cannot_be_compared_says_why(b: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare(report(0.1, 0.2), report(0.1, 0.2, **b))


@pytest.mark.parametrize(
    ("a", "b", "low", "high", "better", "verdict"),
    [
        (1.0, 2.0, 0.5, 1.5, "lower", "worse"),
        (2.0, 1.0, -1.5, -0.5, "lower", "better"),
        (1.0, 2.0, 0.5, 1.5, "higher", "better"),
        (2.0, 1.0, -1.5, -0.5, "higher", "worse"),
        (1.0, 2.0, 0.5, 1.5, None, "changed"),
        (1.0, 2.0, -0.1, 1.5, "lower", "unclear"),
        (1.0, 2.0, 0.0, 1.5, "lower", "unclear"),
        (1.0, 1.0, -0.1, 0.1, "lower", "unclear"),
        (1.0, 1.0, 0.0, 0.0, "lower", "equal"),
        (1.0, 1.0, np.nan, np.nan, "lower", "equal"),
        (1.0, np.nan, np.nan, np.nan, "lower", "unclear"),
    ],
)
def test_verdicts(a: float, b: float, low: float, high: float, better: Any, verdict: str) -> None:
    assert Change(unit="rad", better=better, a=a, b=b, low=low, high=high).verdict == verdict


def test_a_relative_change_from_nothing_is_infinite() -> None:
    one = Change(unit="rad", better="lower", a=0.0, b=0.1, low=0.0, high=0.0)
    assert one.relative == np.inf
    assert Change(unit="rad", better="lower", a=0.0, b=0.0, low=0.0, high=0.0).relative == 0
    assert Change(unit="dB", better="higher", a=-2.0, b=-1.0, low=0.0, high=0.0).relative == 0.5
