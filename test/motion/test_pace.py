# SPDX-License-Identifier: Apache-2.0
"""Beyond its limits a chunk is clamped, slowed down or refused, limit by limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tapers import fr3_limits

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import LimitHit, Limits, rate_hits, taper_hits
from dreamzero_ros.motion.pace import SLOWEST, time_scale
from dreamzero_ros.motion.settings import Settings
from dreamzero_ros.motion.splice import through_targets

pytestmark = pytest.mark.cpu
JOINTS = ("arm", "gripper")
LIMITS = Limits(np.full(2, -1.0), np.ones(2), np.full(2, 2.0), np.full(2, 10.0))
POSITION = LimitHit("arm", "position", 1.2, 1.0)
VELOCITY = LimitHit("arm", "velocity", 3.0, 2.0)
ACCELERATION = LimitHit("arm", "acceleration", 40.0, 10.0)
GRIPPER = LimitHit("gripper", "velocity", 99.0, 2.0)
ALL = (POSITION, VELOCITY, ACCELERATION)
SLOW_DOWN = Settings(on_velocity="slow_down", on_acceleration="slow_down")


def test_clamped_by_default() -> None:
    assert time_scale(JOINTS, ALL, LIMITS, Settings()) == 1.0


@pytest.mark.parametrize(
    ("policy", "refused", "let_pass"),
    [
        ("on_position", "position 1.200 wanted, 1.000 allowed", "velocity"),
        ("on_velocity", "velocity 3.000 wanted, 2.000 allowed", "acceleration"),
        ("on_acceleration", "acceleration 40.000 wanted, 10.000 allowed", "position"),
    ],
)
def test_refused_limit_by_limit(policy: str, refused: str, let_pass: str) -> None:
    with pytest.raises(MotionError, match=f"arm: {refused}") as error:
        time_scale(JOINTS, ALL, LIMITS, Settings(**{policy: "refuse"}))
    assert let_pass not in str(error.value)
    others = [hit for hit in ALL if hit.limit != policy.removeprefix("on_")]
    assert time_scale(JOINTS, others, LIMITS, Settings(**{policy: "refuse"})) == 1.0


def test_velocity_shrinks_with_the_factor_acceleration_with_its_square() -> None:
    assert time_scale(JOINTS, ALL, LIMITS, Settings(on_velocity="slow_down")) == 1.5
    assert time_scale(JOINTS, ALL, LIMITS, Settings(on_acceleration="slow_down")) == 2.0
    assert time_scale(JOINTS, ALL, LIMITS, SLOW_DOWN) == 2.0
    assert time_scale(JOINTS, (), LIMITS, SLOW_DOWN) == 1.0


def test_an_error_stays_readable() -> None:
    with pytest.raises(MotionError, match=r"allowed; and 19 more$"):
        time_scale(JOINTS, [VELOCITY] * 22, LIMITS, Settings(on_velocity="refuse"))


def test_far_too_fast_is_refused() -> None:
    hit = replace(VELOCITY, wanted=2.0 * SLOWEST * 1.01)
    with pytest.raises(MotionError, match=r"4\.0 times slower, 4 times at most: arm: velocity"):
        time_scale(JOINTS, [hit], LIMITS, SLOW_DOWN)


def test_grippers_are_clamped_whatever_the_policy() -> None:
    refuse = Settings(on_velocity="refuse", grippers=np.array([False, True]))
    assert time_scale(JOINTS, [GRIPPER], LIMITS, refuse) == 1.0
    assert time_scale(JOINTS, [GRIPPER], LIMITS, replace(SLOW_DOWN, grippers=refuse.grippers)) == 1.0
    with pytest.raises(MotionError, match="gripper"):
        time_scale(JOINTS, [GRIPPER], LIMITS, replace(refuse, grippers=None))


@examples(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5))
def test_slowed_down_by_the_factor_a_chunk_keeps_the_limits(seed: int, jitter: float) -> None:
    """And by less it does not; within 1 / `SLOWEST` of full speed the taper is left to the tracker."""
    rng = np.random.default_rng(seed)
    limits = fr3_limits()
    taper = limits.taper
    assert taper is not None
    joints = tuple(f"joint{j}" for j in range(7))
    middle = (limits.lower + limits.upper) / 2
    walk = np.cumsum(rng.normal(0, jitter, (24, 7)), axis=0)
    targets = np.clip(middle + walk, taper.first, taper.last)

    def hits(factor: float) -> list[LimitHit]:
        curve = through_targets(0, factor / 15, joints, targets)
        found = rate_hits(curve, limits) + taper_hits(curve, limits)
        return [hit for hit in found if hit.wanted > limits.velocity.min() / SLOWEST]

    try:
        factor = time_scale(joints, hits(1.0), limits, SLOW_DOWN)
    except MotionError:
        return
    flat = [
        hit
        for hit in hits(factor * (1 + 1e-6))
        if hit.limit == "acceleration" or hit.allowed in limits.velocity
    ]
    assert not flat
    if factor > 1:
        assert hits(factor * 0.99)


def test_the_taper_counts() -> None:
    """0.7 rad/s is slow for an FR3, but not 6 cm in front of the end of joint 1."""
    limits = fr3_limits()
    targets = np.tile((limits.lower + limits.upper) / 2, (24, 1))
    targets[:, 0] = 2.68 - 0.7 / 15 * np.arange(23, -1, -1)
    curve = through_targets(0, 1 / 15, tuple("abcdefg"), targets)
    (hit,) = taper_hits(curve, limits)
    assert (hit.joint, hit.limit) == ("a", "velocity")
    assert hit.wanted == pytest.approx(0.7)
    assert hit.allowed == pytest.approx(-0.301 + np.sqrt(12.0 * (2.7501 - 2.68)))
    assert rate_hits(curve, limits) == []
    assert taper_hits(curve, replace(limits, taper=None)) == []
    assert time_scale(curve.joints, [hit], limits, SLOW_DOWN) == pytest.approx(0.7 / 0.65475)
