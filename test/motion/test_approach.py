# SPDX-License-Identifier: Apache-2.0
"""The way to a pose is straight, at rest at both ends, and gentle everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tapers import fr3_limits, too_fast

from dreamzero_ros.motion.approach import approach
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.plan import stop
from dreamzero_ros.motion.trajectory import Trajectory

pytestmark = pytest.mark.cpu
NS = 1_000_000_000
NOW_NS = 1_700_000_000 * NS
JOINTS = tuple(f"joint{j}" for j in range(7))
LIMITS = fr3_limits()


def random_ends(rng: np.random.Generator, share: float) -> tuple[np.ndarray, np.ndarray, Trajectory]:
    middle, half = (LIMITS.lower + LIMITS.upper) / 2, (LIMITS.upper - LIMITS.lower) / 2
    begin, goal = middle + half * rng.uniform(-1, 1, 7), middle + half * rng.uniform(-0.99, 0.99, 7)
    near = rng.uniform(size=7) < 0.3
    goal = np.where(near, begin + rng.normal(0, 1e-4, 7), goal).clip(
        middle - 0.99 * half, middle + 0.99 * half
    )
    return begin, goal, approach(JOINTS, begin, goal, NOW_NS, LIMITS, share)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.0))
def test_it_goes_straight_and_uses_no_more_than_its_share(seed: int, share: float) -> None:
    begin, goal, way = random_ends(np.random.default_rng(seed), share)

    np.testing.assert_allclose(way.positions[[0, -1]], [begin, goal], atol=1e-12)
    np.testing.assert_array_equal(way.velocities[[0, -1]], np.zeros((2, 7)))
    assert np.diff(way.times_s).max() <= 0.05 + 1e-9
    extremes = way.extremes()
    assert (extremes.velocity <= share * LIMITS.velocity * (1 + 1e-6)).all()
    assert (extremes.acceleration <= share * LIMITS.acceleration * (1 + 1e-6) + 1e-6).all()
    assert (extremes.lower >= np.minimum(begin, goal) - 1e-9).all(), "it never turns back or overshoots"
    assert (extremes.upper <= np.maximum(begin, goal) + 1e-9).all()
    assert LIMITS.taper is not None
    assert not too_fast(way, LIMITS.taper).any()
    q, _ = way.sample(np.linspace(0, way.end_ns - NOW_NS, 200).astype(np.int64) + NOW_NS)
    longest = np.abs(goal - begin).argmax()
    along = (q[:, [longest]] - begin[longest]) / (goal - begin)[longest]
    np.testing.assert_allclose(q, begin + along * (goal - begin), atol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5), st.floats(0.0, 1.0))
def test_it_can_be_stopped_at_any_time(seed: int, share: float, when: float) -> None:
    begin, goal, way = random_ends(np.random.default_rng(seed), share)
    now_ns = NOW_NS + round(when * (way.end_ns - NOW_NS))
    stopped = stop(way, now_ns, LIMITS)

    assert (stopped.velocities[-1] == 0).all()
    extremes = stopped.extremes()
    assert (extremes.acceleration <= LIMITS.acceleration * (1 + 1e-6) + 1e-6).all()
    assert (extremes.lower >= np.minimum(begin, goal) - 1e-3).all()
    assert (extremes.upper <= np.maximum(begin, goal) + 1e-3).all()
    assert LIMITS.taper is not None
    assert not too_fast(stopped, LIMITS.taper).any()


def test_the_slowest_joint_uses_all_of_its_share() -> None:
    goal = np.zeros(7) + (LIMITS.lower + LIMITS.upper) / 2
    begin = goal.copy()
    begin[1] -= 1.5
    fast = replace(LIMITS, acceleration=np.full(7, 1e3))
    assert approach(JOINTS, begin, goal, NOW_NS, fast, 0.2).extremes().velocity[1] == pytest.approx(
        0.2 * LIMITS.velocity[1]
    )
    sudden = replace(LIMITS, velocity=np.full(7, 1e3), taper=None)
    extremes = approach(JOINTS, begin, goal, NOW_NS, sudden, 0.2).extremes()
    assert extremes.acceleration[1] == pytest.approx(0.2 * LIMITS.acceleration[1])


def test_who_is_there_already_stays() -> None:
    begin = (LIMITS.lower + LIMITS.upper) / 2
    way = approach(JOINTS, begin, begin, NOW_NS, LIMITS, 0.1)
    np.testing.assert_array_equal(way.positions, np.tile(begin, (len(way.times_s), 1)))
    assert way.end_ns > NOW_NS


MIDDLE = (LIMITS.lower + LIMITS.upper) / 2


def moved(joint: int, value: float) -> np.ndarray:
    row = MIDDLE.copy()
    row[joint] = value
    return row


@pytest.mark.parametrize(
    ("positions", "goal", "share", "words"),
    [
        (moved(2, np.nan), MIDDLE, 0.1, "measured position of joint2 is nan"),
        (MIDDLE, moved(3, np.inf), 0.1, "goal position of joint3 is inf"),
        (MIDDLE, moved(0, 2.75), 0.1, r"joint0 is to be at 2\.750, its limits are -2\.744 to 2\.744"),
        (MIDDLE, moved(0, 2.743), 0.1, r"joint0 .* no more than 0\.0000; .* between -2\.743 and 2\.743"),
        (MIDDLE, MIDDLE, 0.0, r"in \(0, 1\], got 0"),
        (MIDDLE, MIDDLE, 1.1, r"in \(0, 1\], got 1\.1"),
    ],
)
def test_refuses_with_words(positions: np.ndarray, goal: np.ndarray, share: float, words: str) -> None:
    with pytest.raises(MotionError, match=words):
        approach(JOINTS, positions, goal, NOW_NS, LIMITS, share)


def test_a_pose_at_the_end_of_a_taper_can_be_left_and_kept() -> None:
    at_the_end = moved(0, 2.743)
    assert approach(JOINTS, at_the_end, at_the_end, NOW_NS, LIMITS, 0.1).velocities.max() == 0
    assert approach(JOINTS, at_the_end, MIDDLE, NOW_NS, LIMITS, 0.1).positions[-1, 0] == MIDDLE[0]
