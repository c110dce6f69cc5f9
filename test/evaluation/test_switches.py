# SPDX-License-Identifier: Apache-2.0
"""Times of gripper switches, by sequences written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from episodes import DT_S, make_episode, replace, waves

from dreamzero_ros.evaluation.episode import Floats
from dreamzero_ros.evaluation.switches import followed, switch_sums

pytestmark = pytest.mark.cpu


def gripper(sides: Floats) -> Floats:
    """Sides (...) as the last of three joints."""
    return np.stack([np.zeros_like(sides), np.zeros_like(sides), sides], axis=-1)


def compared(recorded: str, predicted: str) -> tuple[float, float, float, float, float]:
    """Sum of absolute and of signed delays [steps], their count; switches without a counterpart, and all."""
    sides = [np.array([[float(side) for side in text]]) for text in (recorded, predicted)]
    episode = make_episode(calls=1, horizon=len(recorded), dropped=0, recorded=lambda t: gripper(0 * t))
    episode = replace(episode, recorded=gripper(sides[0]), targets=gripper(sides[1]))
    sums = switch_sums(episode, episode.calls.targets[None])
    timing, delay, unmatched = (sums[f"gripper_{name}"][0] for name in ("timing_s", "delay_s", "unmatched"))
    assert timing[1] == delay[1]
    return timing[0] / DT_S, delay[0] / DT_S, timing[1], *unmatched


CASES = {
    "equal": ("0011100", "0011100", (0, 0, 2, 0, 4)),
    "late": ("0011111", "0000111", (2, 2, 1, 0, 2)),
    "early": ("0000111", "0011111", (2, -2, 1, 0, 2)),
    "early and late": ("0011100", "0111110", (2, 0, 2, 0, 4)),
    "never": ("0001111", "0000000", (0, 0, 0, 1, 1)),
    "the other way": ("0001111", "1110000", (0, 0, 0, 2, 2)),
    "chatter": ("0001111", "0010111", (1, -1, 1, 2, 4)),
    "nearest": ("000000111", "011100011", (1, 1, 1, 2, 4)),
    "at rest": ("1111", "1111", (0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_switches_by_hand(case: str) -> None:
    recorded, predicted, expected = CASES[case]
    assert compared(recorded, predicted) == pytest.approx(expected)


@pytest.mark.parametrize("steps", [-3, -1, 1, 2, 5])
def test_a_shift_by_steps_over_many_chunks(steps: int) -> None:
    late = make_episode(calls=30, predicted=lambda t: waves(t - steps * DT_S))
    sums = switch_sums(late, late.calls.targets[None])
    total, count = sums["gripper_timing_s"][0]
    assert count >= 7
    assert total / count == pytest.approx(abs(steps) * DT_S)
    assert sums["gripper_delay_s"][0, 0] == pytest.approx(count * steps * DT_S)


def test_every_recorded_switch_counts_once_whatever_the_overlap_of_chunks() -> None:
    for steps in (4, 8, 24):
        episode = make_episode(calls=1 + 240 // steps, steps=steps)
        assert switch_sums(episode, episode.calls.targets[None])["gripper_timing_s"][0, 1] in (8, 9)


def test_a_counterpart_is_within_one_horizon() -> None:
    episode = make_episode(calls=20, recorded=lambda t: gripper(1.0 * (t > 4)))
    for delay_s, found in ((1.5, 1), (1.7, 0)):
        late = replace(episode, targets=shift(episode.calls.targets, episode.calls.captured_ns, delay_s))
        assert switch_sums(late, late.calls.targets[None])["gripper_timing_s"][0, 1] == found


def shift(targets: Floats, captured_ns: Floats, delay_s: float) -> Floats:
    due_s = (captured_ns - captured_ns[0])[:, None] / 1e9 + DT_S * (np.arange(targets.shape[1]) + 25)
    return gripper(1.0 * (due_s > 4 + delay_s))


def test_what_is_followed_is_cut_by_the_next_chunk_and_broken_by_sessions() -> None:
    episode = make_episode(calls=4, steps=8, dropped=3)
    ((calls, targets, due_s),) = followed(episode)
    assert calls.tolist() == [0] * 8 + [1] * 8 + [2] * 8 + [3] * 21
    assert targets.tolist() == [*range(3, 11)] * 3 + [*range(3, 24)]
    np.testing.assert_allclose(np.diff(due_s), DT_S)
    new_session = np.array([True, False, True, False])
    assert [part[0].tolist()[0] for part in followed(replace(episode, new_session=new_session))] == [0, 2]
    used = np.array([21, 0, 4, 21])
    parts = followed(replace(episode, used=used))
    assert [part[0].tolist() for part in parts] == [[0] * 16 + [2] * 4, [3] * 21]


def test_every_gripper_counts() -> None:
    episode = make_episode()
    twice = replace(episode, grippers=("joint1", "gripper"))
    one, two = (switch_sums(e, e.calls.targets[None])["gripper_timing_s"][0, 1] for e in (episode, twice))
    assert two > one
