# SPDX-License-Identifier: Apache-2.0
"""The tracker keeps limits whatever the reference is, and follows one that is within them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tapers import fr3_limits, no_taper, too_fast

from dreamzero_ros.motion.limits import Limits, Taper
from dreamzero_ros.motion.tracker import Tracker
from dreamzero_ros.motion.trajectory import Floats, Trajectory

pytestmark = pytest.mark.cpu
STEP_S = 0.02
STEPS = 100
JOINTS = 42
"""Joints of one example: the tracker computes each by itself, and many at once in little more time."""


def random_tracker(rng: np.random.Generator) -> Tracker:
    """Limits from tight to wide, some joints without position limits."""
    span = rng.choice([0.0, 0.01, 0.5, 3.0, np.inf], JOINTS)
    limits = Limits(-span, span, rng.choice([0.01, 0.5, 3.0], JOINTS), rng.choice([0.1, 5.0, 20.0], JOINTS))
    return Tracker(limits, STEP_S, rng.choice([0.3, 0.5, 1.0]))


def random_reference(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Noise, jumps, spikes and rest, with velocities that need not belong to the positions."""
    shape = (STEPS, JOINTS)
    noise = rng.normal(0, 1, shape)
    jumps = np.repeat(rng.normal(0, 3, (STEPS // 10, JOINTS)), 10, axis=0)
    spikes = 100.0 * (rng.uniform(size=shape) > 0.97) * rng.normal(0, 1, shape)
    q = sum(part * rng.integers(0, 2, JOINTS) for part in (noise, jumps, spikes)) + np.zeros(shape)
    return q, rng.normal(0, 1, shape) * rng.choice([0.0, 1.0, 50.0], JOINTS)


def path(q: Floats, v: Floats, *parts: tuple[Floats, Floats]) -> Trajectory:
    """Start state and further points, all one grid step apart."""
    positions = np.vstack([q, *(part[0] for part in parts)])
    velocities = np.vstack([v, *(part[1] for part in parts)])
    joints = tuple(str(j) for j in range(len(q)))
    return Trajectory(0, joints, np.round(np.arange(len(positions)) * STEP_S, 9), positions, velocities)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_limits_hold_everywhere_from_any_state_within_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracker = random_tracker(rng)
    limits = tracker.limits
    q = rng.uniform(np.maximum(limits.lower, -9.0), np.minimum(limits.upper, 9.0))
    way = np.minimum(limits.bounded_upper - q, q - limits.bounded_lower)
    slow = np.minimum(limits.velocity, np.sqrt(1.5 * limits.acceleration * way))
    v = rng.uniform(-1, 1, JOINTS) * np.where(slow > limits.acceleration * STEP_S, slow * 0.9, 0.0)

    moved = tracker.follow(q, v, *random_reference(rng))
    rest = tracker.brake(moved[0][-1], moved[1][-1])

    extremes = path(q, v, moved, rest).extremes()
    assert (extremes.lower >= limits.lower - 1e-9).all()
    assert (extremes.upper <= limits.upper + 1e-9).all()
    assert (extremes.velocity <= limits.velocity * (1 + 1e-9)).all()
    tolerance = 1e-12 * np.maximum(1.0, np.abs(q)) * 10 / STEP_S**2
    assert (extremes.acceleration <= limits.acceleration * (1 + 1e-6) + tolerance).all()
    assert (path(q, v, moved, rest).velocities[-1] == 0).all()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_a_state_outside_the_limits_is_left_without_a_jump(seed: int) -> None:
    """Limits can become tighter while the arm moves: it brakes as hard as it may, no further."""
    rng = np.random.default_rng(seed)
    tracker = random_tracker(rng)
    limits = tracker.limits
    q, v = rng.normal(0, 2, JOINTS), rng.normal(0, 3, JOINTS)

    moved = tracker.follow(q, v, *random_reference(rng))
    rest = tracker.brake(moved[0][-1], moved[1][-1])

    extremes = path(q, v, moved, rest).extremes()
    assert (extremes.acceleration <= limits.acceleration * (1 + 1e-6) + 1e-8).all()
    unavoidable = v**2 / (2 * limits.acceleration) + limits.acceleration * STEP_S**2 / 8
    assert (extremes.upper <= np.maximum(limits.upper, q + np.where(v > 0, unavoidable, 0)) + 1e-9).all()
    assert (extremes.lower >= np.minimum(limits.lower, q - np.where(v < 0, unavoidable, 0)) - 1e-9).all()
    slowed = np.abs(v) - np.arange(1, STEPS + 1)[:, None] * limits.acceleration * STEP_S
    assert (np.abs(moved[1]) <= np.maximum(limits.velocity, slowed) + 1e-9).all()


def test_braking_goes_straight_on_and_never_turns_back() -> None:
    limits = Limits(np.full(3, -9.0), np.full(3, 9.0), np.full(3, 3.0), np.array([5.0, 10.0, 2.0]))
    q, v = np.array([0.0, 1.0, -1.0]), np.array([2.0, -1.0, 0.3])
    positions, velocities = Tracker(limits, STEP_S, 0.5).brake(q, v)

    np.testing.assert_allclose((positions - q) / v, np.tile(((positions - q) / v)[:, :1], 3), atol=1e-12)
    assert (
        np.abs(np.diff(velocities, axis=0)).max(axis=0) <= 0.5 * limits.acceleration * STEP_S + 1e-12
    ).all()
    assert (velocities * v >= 0).all()


def test_braking_in_front_of_a_limit_takes_the_room_there_is() -> None:
    limits = Limits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, 3.0), np.full(2, 10.0))
    q, v = np.array([0.79, 0.0]), np.array([2.0, 2.0])  # 0.2 to brake fully, 0.4 gently
    positions, _ = Tracker(limits, STEP_S, 0.5).brake(q, v)
    np.testing.assert_allclose(positions[-1], [0.99, 0.4], atol=1e-9)


def test_rest_needs_no_braking() -> None:
    limits = Limits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, 3.0), np.full(2, 10.0))
    positions, velocities = Tracker(limits, STEP_S, 0.5).brake(np.zeros(2), np.zeros(2))
    assert positions.shape == velocities.shape == (0, 2)


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_converges_to_a_moving_reference_without_overshoot(share: float) -> None:
    limits = Limits(np.full(1, -9.0), np.full(1, 9.0), np.full(1, 2.0), np.full(1, 10.0))
    t = np.arange(1, STEPS + 1)[:, None] * STEP_S
    ref_q, ref_v = 0.5 + 0.3 * t, np.full((STEPS, 1), 0.3)

    q, v = Tracker(limits, STEP_S, share).follow(np.zeros(1), np.zeros(1), ref_q, ref_v)

    behind = ref_q - q
    assert (behind >= -1e-12).all()
    assert (np.diff(behind[3:], axis=0) <= 1e-12).all()
    np.testing.assert_allclose(q[-20:], ref_q[-20:], atol=1e-12)
    np.testing.assert_allclose(v[-20:], ref_v[-20:], atol=1e-10)


def test_a_feasible_reference_is_not_distorted() -> None:
    """Error per step is h^3 / 12 times the jerk, and does not add up: here 9e-6 rad."""
    limits = Limits(np.full(1, -9.0), np.full(1, 9.0), np.full(1, 2.0), np.full(1, 10.0))
    w = 2 * np.pi * 0.5
    t = np.arange(STEPS + 1)[:, None] * STEP_S
    ref_q, ref_v = 0.5 * np.sin(w * t), 0.5 * w * np.cos(w * t)
    q, _ = Tracker(limits, STEP_S, 0.5).follow(ref_q[0], ref_v[0], ref_q[1:], ref_v[1:])
    assert np.abs(q - ref_q[1:]).max() < 1.1 * STEP_S**3 / 12 * 0.5 * w**3


def random_taper(rng: np.random.Generator) -> Tracker:
    """The FR3, its joints with or without taper, or any taper; accelerations from far too small on."""
    limits = fr3_limits(JOINTS)
    taper = limits.taper
    assert taper is not None
    if rng.integers(0, 2):
        offset, gain = rng.choice([0.0, 0.01, 0.3, 1.0], JOINTS), rng.choice([0.5, 12.0, 34.0, 300.0], JOINTS)
        end = 1.0 + offset**2 / gain
        taper = Taper(offset, gain, -end, end)
        limits = replace(limits, lower=np.full(JOINTS, -1.1), upper=np.full(JOINTS, 1.1))
    with_taper, without = rng.uniform(size=JOINTS) < 0.8, no_taper(JOINTS)
    rows = ((getattr(taper, key), getattr(without, key)) for key in ("offset", "gain", "lower", "upper"))
    taper = Taper(*(np.where(with_taper, row, other) for row, other in rows))
    acceleration = limits.acceleration * rng.choice([0.05, 1.0, 3.0], JOINTS)
    return Tracker(
        replace(limits, acceleration=acceleration, taper=taper), STEP_S, rng.choice([0.3, 0.5, 1.0])
    )


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_the_taper_holds_everywhere(seed: int) -> None:
    """From rest, along any reference, to rest again: between the knots too."""
    rng = np.random.default_rng(seed)
    tracker = random_taper(rng)
    limits, taper = tracker.limits, tracker.limits.taper
    assert taper is not None
    lowest, highest = np.maximum(limits.lower, taper.first), np.minimum(limits.upper, taper.last)
    middle, half = (lowest + highest) / 2, (highest - lowest) / 2
    q, v = middle + rng.uniform(-0.999, 0.999, len(half)) * half, np.zeros(len(half))
    ref_q, ref_v = random_reference(rng)

    moved = tracker.follow(q, v, middle + half * ref_q, ref_v)
    cut = rng.integers(1, STEPS + 1)
    way = path(q, v, (moved[0][:cut], moved[1][:cut]), tracker.brake(moved[0][cut - 1], moved[1][cut - 1]))

    assert not too_fast(way, taper).any()
    extremes = way.extremes()
    assert (extremes.lower >= limits.lower - 1e-9).all()
    assert (extremes.upper <= limits.upper + 1e-9).all()
    assert (extremes.acceleration <= limits.acceleration * (1 + 1e-6) + 1e-7).all()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_too_fast_for_the_taper_means_full_braking(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracker = Tracker(fr3_limits(JOINTS), STEP_S, 0.5)
    limits, taper = tracker.limits, tracker.limits.taper
    assert taper is not None
    q = rng.uniform(taper.last - 0.3, taper.last)
    v = np.minimum(taper.fastest(q)[1] + rng.uniform(0.5, 1.5), limits.velocity)
    outside = v > taper.fastest(q)[1] + 0.3

    moved = tracker.follow(q, v, *random_reference(rng))
    braked = tracker.brake(q, v)

    for velocities in (moved[1], braked[1]):
        np.testing.assert_allclose(
            velocities[0][outside], (v - limits.acceleration * STEP_S)[outside], atol=1e-12
        )
    assert (path(q, v, moved).extremes().acceleration <= limits.acceleration * (1 + 1e-6)).all()


def test_the_taper_is_used() -> None:
    """To the end of the range in reasonable time: the margins cost little."""
    tracker = Tracker(fr3_limits(), STEP_S, 1.0)
    taper = tracker.limits.taper
    assert taper is not None
    middle = (taper.first + taper.last) / 2
    q, v = tracker.follow(middle, np.zeros(7), np.tile(taper.last, (300, 1)), np.zeros((300, 7)))
    assert (np.minimum(taper.last, tracker.limits.upper) - q[-1] < 2e-4).all()
    most = np.minimum(taper.fastest(q)[1], tracker.limits.velocity)
    assert ((v / np.maximum(most, 1e-9)).max(axis=0) > 0.9).all()
