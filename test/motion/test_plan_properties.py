# SPDX-License-Identifier: Apache-2.0
"""Whatever the chunk, the published trajectory is continuous, within limits and ends at rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from chunks import NS, STAMP_NS, Chunk
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tapers import fr3_limits, no_taper, too_fast

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import Limits, Taper
from dreamzero_ros.motion.plan import Plan, Settings, plan, stop
from dreamzero_ros.motion.trajectory import Floats, Trajectory, hold

pytestmark = pytest.mark.cpu

KINDS = {
    "constant": lambda rng, shape, limits: np.tile(rng.uniform(limits.lower, limits.upper), (shape[0], 1)),
    "noise": lambda rng, shape, limits: rng.normal(0, 0.5, shape),
    "huge jumps": lambda rng, shape, limits: rng.choice([-1e6, 1e3, -10.0, 0.0, 10.0], shape),
    "spike": lambda rng, shape, limits: (
        5.0 * (np.arange(shape[0]) == shape[0] // 2)[:, None] * np.ones(shape)
    ),
    "along a limit": lambda rng, shape, limits: np.tile(limits.upper, (shape[0], 1)),
    "limit to limit": lambda rng, shape, limits: np.where(
        rng.uniform(size=shape) < 0.5, limits.lower, limits.upper
    ),
    "ramp": lambda rng, shape, limits: np.arange(shape[0])[:, None] * rng.normal(0, 0.2, shape[1]),
}


@st.composite
def random_limits(draw: st.DrawFn, joints: int) -> Limits:
    def each(values: list[float]) -> Floats:
        return np.array(draw(st.lists(st.sampled_from(values), min_size=joints, max_size=joints)))

    if draw(st.integers(0, 3)) == 0:
        first = draw(st.integers(0, 7 - joints))
        return of_joints(fr3_limits(), slice(first, first + joints))
    reach = each([0.02, 0.5, 3.0])
    gain, offset = each([0.5, 34.0, np.inf]), each([0.0, 0.3])
    end = reach + np.where(np.isfinite(gain), each([0.0, 0.001]), np.inf)
    offset = np.where(np.isfinite(gain) & (offset**2 < 0.5 * gain * end), offset, 0.0)
    taper = Taper(offset, gain, -end, end) if draw(st.booleans()) else None
    return Limits(-reach, reach, each([0.05, 1.0, 3.0]), each([0.3, 5.0, 20.0]), taper)


def of_joints(limits: Limits, kept: slice) -> Limits:
    """Of some joints only."""
    taper = limits.taper
    assert taper is not None
    return Limits(
        *(row[kept] for row in (limits.lower, limits.upper, limits.velocity, limits.acceleration)),
        Taper(*(row[kept] for row in (taper.offset, taper.gain, taper.lower, taper.upper))),
    )


@st.composite
def random_settings(draw: st.DrawFn, joints: int) -> Settings:
    on_rate = st.sampled_from(["clamp", "clamp", "slow_down", "refuse"])
    return Settings(
        lead_s=draw(st.sampled_from([0.005, 0.05, 0.2])),
        blend_s=draw(st.sampled_from([0.01, 0.2, 5.0])),
        soft_share=draw(st.sampled_from([0.2, 1.0])),
        start_tolerance=np.inf,
        smooth=draw(st.booleans()),
        grippers=np.array(draw(st.lists(st.booleans(), min_size=joints, max_size=joints))),
        debounce_steps=draw(st.integers(0, 3)),
        speed_scale=draw(st.sampled_from([1.0, 1.0, 0.6])),
        on_position=draw(st.sampled_from(["clamp", "clamp", "refuse"])),
        on_velocity=draw(on_rate),
        on_acceleration=draw(on_rate),
    )


@st.composite
def random_chunks(draw: st.DrawFn, limits: Limits) -> Chunk:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 24)), len(limits.lower))
    targets = KINDS[draw(st.sampled_from(sorted(KINDS)))](rng, shape, limits)
    return Chunk(targets, STAMP_NS, draw(st.sampled_from([1 / 15, 1 / 30])))


@dataclass(frozen=True)
class Case:
    """One call of plan: what is executed was planned from other chunks within the same limits."""

    chunk: Chunk
    executing: Trajectory | None
    measured: Floats
    now_ns: int
    limits: Limits
    settings: Settings

    def plan(self) -> Plan:
        """The plan, with limits clamped where the settings refuse this chunk."""
        case = (self.chunk, self.executing, self.measured, self.now_ns, self.limits)
        try:
            return plan(*case, self.settings)
        except MotionError:
            clamped = replace(
                self.settings, on_position="clamp", on_velocity="clamp", on_acceleration="clamp"
            )
            assert clamped != self.settings, "nothing else is wrong with these chunks"
            return plan(*case, clamped)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    limits = draw(random_limits(draw(st.integers(1, 3))))
    settings = draw(random_settings(len(limits.lower)))
    measured = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).uniform(limits.lower, limits.upper)
    executing = None
    for _ in range(draw(st.integers(0, 2))):
        late_ns = draw(st.integers(0, 2 * NS))
        chunk = replace(draw(random_chunks(limits)), stamp_ns=STAMP_NS - late_ns)
        now_ns = STAMP_NS - late_ns // 2
        executing = Case(chunk, executing, measured, now_ns, limits, settings).plan().trajectory
    now_ns = STAMP_NS + draw(st.integers(0, 2 * NS))
    return Case(draw(random_chunks(limits)), executing, measured, now_ns, limits, settings)


def assert_within(trajectory: Trajectory, limits: Limits) -> None:
    """Exact bounds, and a dense sampling that does not trust them."""
    t_ns = np.arange(trajectory.start_ns, trajectory.end_ns, 1_000_000)
    q, v = trajectory.sample(t_ns)
    extremes = trajectory.extremes()
    for lower, upper, speed in (
        (extremes.lower, extremes.upper, extremes.velocity),
        (q.min(axis=0), q.max(axis=0), np.abs(v).max(axis=0)),
    ):
        assert (lower >= limits.lower - 1e-6).all()
        assert (upper <= limits.upper + 1e-6).all()
        assert (speed <= limits.velocity + 1e-6).all()
    assert (np.abs(np.diff(v, axis=0)) <= limits.acceleration * 1e-3 + 1e-6).all()
    assert not too_fast(trajectory, limits.taper or no_taper(len(limits.lower))).any()


def assert_continues(trajectory: Trajectory, executing: Trajectory, until_ns: int) -> None:
    """The same motion up to the splice, in position and velocity."""
    t_ns = np.linspace(0, until_ns - trajectory.start_ns, 50).astype(np.int64) + trajectory.start_ns
    for new, old in zip(trajectory.sample(t_ns), executing.sample(t_ns), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


@examples(max_examples=4 * examples().max_examples)
@given(cases())
def test_every_plan_is_continuous_within_limits_and_ends_at_rest(case: Case) -> None:
    result = case.plan()
    trajectory = result.trajectory

    assert trajectory.start_ns == case.now_ns
    assert (np.diff(trajectory.times_s) > 0).all()
    assert_within(trajectory, case.limits)
    assert_continues(
        trajectory, case.executing or hold(case.chunk.joints, case.measured, case.now_ns), result.splice_ns
    )
    assert result.splice_ns >= case.now_ns + round(case.chunk.dt_s * NS)
    assert (trajectory.velocities[-1] == 0).all()
    assert result.used + result.dropped == len(case.chunk.targets)
    dt_s = case.chunk.dt_s / case.settings.speed_scale
    due_ns = [STAMP_NS + round((i + 1) * dt_s * NS) for i in range(len(case.chunk.targets))]
    assert result.dropped == sum(due < result.splice_ns for due in due_ns)
    slowed_ns = round(result.time_scale * (due_ns[-1] - result.splice_ns))
    assert abs(result.covered_until_ns - result.splice_ns - slowed_ns) < 100
    assert 1.0 <= result.time_scale <= 4.0
    assert trajectory.end_ns >= result.covered_until_ns or result.used == 0


@examples(max_examples=2 * examples().max_examples)
@given(cases(), st.data())
def test_tighter_limits_are_reached_by_braking(case: Case, data: st.DataObject) -> None:
    """A speed limit lowered in motion must not become a step in velocity."""
    tighter = data.draw(random_limits(len(case.limits.lower)))
    result = replace(case, limits=tighter).plan()
    after = result.trajectory.window(result.splice_ns, result.trajectory.end_ns + NS)

    assert (after.extremes().acceleration <= tighter.acceleration * (1 + 1e-5) + 1e-6).all()
    q, v = after.positions[0], after.velocities[0]
    unavoidable = v**2 / (2 * tighter.acceleration) + tighter.acceleration * case.settings.grid_s**2 / 8
    furthest = np.maximum(tighter.upper, q + np.where(v > 0, unavoidable, 0.0)) + 1e-6
    lowest = np.minimum(tighter.lower, q - np.where(v < 0, unavoidable, 0.0)) - 1e-6
    assert (after.extremes().upper <= furthest).all()
    assert (after.extremes().lower >= lowest).all()
    assert (after.extremes().velocity <= np.maximum(np.abs(v), tighter.velocity) + 1e-6).all()
    assert (after.velocities[-1] == 0).all()


@examples(max_examples=2 * examples().max_examples)
@given(cases())
def test_a_stop_continues_brakes_and_holds(case: Case) -> None:
    executing = case.executing or hold(case.chunk.joints, case.measured, case.now_ns)
    stopped = stop(executing, case.now_ns, case.limits, case.settings)

    assert stopped.start_ns == case.now_ns
    assert_within(stopped, case.limits)
    splice_ns = case.now_ns + round(case.settings.lead_s * NS)
    assert_continues(stopped, executing, splice_ns)
    speed = np.abs(executing.sample(splice_ns + np.arange(0, NS // 50, NS // 10_000))[1]).max(axis=0)
    braking_s = (speed / (case.limits.acceleration * case.settings.soft_share)).max()
    longest_s = braking_s + 2.5 * case.settings.grid_s
    at_rest_ns = splice_ns + round(longest_s * NS)
    assert (stopped.sample(at_rest_ns + np.arange(0, NS, NS // 20))[1] == 0).all()
    assert stopped.end_ns >= splice_ns + NS // 2, "it outlives the way to the controller"
