# SPDX-License-Identifier: Apache-2.0
"""Whatever the chunk, the published trajectory is continuous, within limits and ends at rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tapers import fr3_limits, no_taper, too_fast

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import Limits, Taper
from dreamzero_ros.motion.plan import Plan, Settings, plan, stop
from dreamzero_ros.motion.splice import through_targets
from dreamzero_ros.motion.trajectory import Floats, Trajectory, hold

pytestmark = pytest.mark.cpu
NS = 1_000_000_000
STAMP_NS = 1_700_000_000 * NS
ANYWHERE = Settings(start_tolerance=np.inf)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A chunk of targets (A, J)."""

    targets: Floats
    stamp_ns: int = STAMP_NS
    dt_s: float = 1 / 15

    @property
    def joints(self) -> tuple[str, ...]:
        return tuple(f"joint{j}" for j in range(self.targets.shape[1]))


def some_limits(joints: int, reach: float = 3.0, velocity: float = 2.0, acceleration: float = 10.0) -> Limits:
    return Limits(
        np.full(joints, -reach),
        np.full(joints, reach),
        np.full(joints, velocity),
        np.full(joints, acceleration),
    )


def smooth_motion(t_s: Floats, joints: int = 3) -> Floats:
    """0.4 Hz at 0.5 rad: up to 1.3 rad/s and 3.2 rad/s^2."""
    return 0.5 * np.sin(2 * np.pi * 0.4 * t_s[..., None] + np.arange(joints))


def smooth_chunk(stamp_s: float, horizon: int = 24, joints: int = 3, dt_s: float = 1 / 15) -> Chunk:
    due_s = stamp_s + dt_s * np.arange(1, horizon + 1)
    return Chunk(smooth_motion(due_s, joints), round(stamp_s * NS), dt_s)


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


@examples(max_examples=400, deadline=None)
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


@examples(max_examples=200, deadline=None)
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


@examples(max_examples=200, deadline=None)
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


@pytest.mark.parametrize(("smooth", "tolerance"), [(False, 5e-5), (True, 2e-3)])
def test_good_motion_is_tracked_closely(smooth: bool, tolerance: float) -> None:
    """Six chunks of one smooth motion, each 0.4 s late, once the first has caught up."""
    executing = None
    settings = replace(ANYWHERE, smooth=smooth)
    for k in range(6):
        chunk = smooth_chunk(0.8 * k)
        now_ns = chunk.stamp_ns + round(0.4 * NS)
        result = plan(
            chunk, executing, smooth_motion(np.array(now_ns / NS)), now_ns, some_limits(3), settings
        )
        executing = result.trajectory
        t_ns = result.splice_ns + np.arange(0, NS, NS // 100)
        error = np.abs(executing.sample(t_ns)[0] - smooth_motion(t_ns / NS))
        if k > 0:
            assert error.max() < tolerance
            assert result.largest_deviation < tolerance
            assert result.limit_hits == ()
            assert result.dropped == 6
    assert error.max() > 0


def test_a_plan_from_rest_converges_to_the_chunk() -> None:
    chunk = smooth_chunk(0.0)
    settings = replace(ANYWHERE, smooth=False)
    result = plan(chunk, None, np.zeros(3), NS // 10, some_limits(3, acceleration=20.0), settings)
    t_ns = result.splice_ns + np.arange(NS // 2, NS, NS // 100)
    assert np.abs(result.trajectory.sample(t_ns)[0] - smooth_motion(t_ns / NS)).max() < 1e-3


def test_the_robot_stays_where_it_is_when_told_so() -> None:
    measured = np.array([0.3, -0.2])
    result = plan(Chunk(np.tile(measured, (24, 1))), None, measured, STAMP_NS, some_limits(2))
    np.testing.assert_allclose(
        result.trajectory.positions, np.tile(measured, (len(result.trajectory.times_s), 1)), atol=1e-12
    )
    assert result.largest_step < 1e-12
    assert result.limit_hits == ()


def test_all_targets_due_means_a_soft_stop() -> None:
    executing = plan(
        smooth_chunk(0.0), None, smooth_motion(np.array(0.1)), NS // 10, some_limits(3)
    ).trajectory
    late = plan(smooth_chunk(0.0, horizon=4), executing, np.zeros(3), NS, some_limits(3))
    assert (late.used, late.dropped) == (0, 4)
    stopped = stop(executing, NS, some_limits(3), Settings(lead_s=1 / 15))
    np.testing.assert_allclose(late.trajectory.positions, stopped.positions[:-1])
    assert (late.trajectory.velocities[-1] == 0).all()


def test_limit_hits_name_joint_and_limit() -> None:
    targets = np.zeros((24, 3))
    targets[:, 0] = 0.05 * np.arange(24)  # past its position limit, at 0.75 rad/s
    targets[12:, 1] = 0.4  # too fast and too sudden
    limits = Limits(
        np.full(3, -1.0), np.full(3, 1.0), np.array([2.0, 1.0, 1.0]), np.array([50.0, 10.0, 10.0])
    )
    made = plan(Chunk(targets), None, np.zeros(3), STAMP_NS, limits, Settings(smooth=False))
    hits = {(h.joint, h.limit): h for h in made.limit_hits}
    assert set(hits) == {("joint0", "position"), ("joint1", "velocity"), ("joint1", "acceleration")}
    assert hits["joint0", "position"].wanted == pytest.approx(1.15)
    assert hits["joint0", "position"].allowed == 1.0
    assert "joint1: velocity" in str(hits["joint1", "velocity"])


def test_largest_step_is_what_a_control_step_moves() -> None:
    result = plan(smooth_chunk(0.0), None, smooth_motion(np.array(0.0)), NS // 10, some_limits(3))
    steps = result.trajectory.sample(np.arange(NS // 10, result.trajectory.end_ns, round(NS / 15)))[0]
    assert result.largest_step == pytest.approx(np.abs(np.diff(steps, axis=0)).max(), rel=1e-6)


def bad(i: int, j: int, value: float) -> Chunk:
    targets = np.zeros((24, 3))
    targets[i, j] = value
    return Chunk(targets)


OTHER = hold(("x", "y", "z"), np.zeros(3), STAMP_NS)


@pytest.mark.parametrize(
    ("chunk", "executing", "measured", "words"),
    [
        (bad(7, 1, np.nan), None, np.zeros(3), "target 7 of joint1 is nan"),
        (bad(23, 2, -np.inf), None, np.zeros(3), "target 23 of joint2 is -inf"),
        (bad(0, 0, 0.0), None, np.array([0.0, np.nan, 0.0]), "joint1 is nan"),
        (bad(0, 0, 0.0), None, np.zeros(4), r"3 joints.*\(4,\)"),
        (bad(0, 0, 0.0), OTHER, np.zeros(3), "are being executed"),
        (Chunk(np.zeros((0, 3))), None, np.zeros(3), r"horizon.*\(0, 3\)"),
        (replace(bad(0, 0, 0.0), stamp_ns=STAMP_NS + NS), None, np.zeros(3), "1.000 s in the future"),
        (bad(0, 0, 0.0), None, np.array([0.1, -0.6, 0.0]), "joint1 is 0.000, measured -0.600"),
    ],
)
def test_refuses_with_words(chunk: Chunk, executing: Trajectory | None, measured: Floats, words: str) -> None:
    with pytest.raises(MotionError, match=words):
        plan(chunk, executing, measured, STAMP_NS, some_limits(3))


def test_the_first_used_target_counts_not_the_first() -> None:
    """After a delay the arm has moved on; what lies behind is dropped, not compared."""
    targets = np.linspace(1.0, 0.0, 24)[:, None]
    late_ns = STAMP_NS + round(20 / 15 * NS)
    assert plan(Chunk(targets), None, np.zeros(1), late_ns, some_limits(1)).dropped == 20
    with pytest.raises(MotionError, match="first target"):
        plan(Chunk(targets), None, np.zeros(1), STAMP_NS, some_limits(1))


def test_a_joint_may_be_excepted_from_the_start_tolerance() -> None:
    targets = np.tile([0.0, 1.0], (24, 1))
    settings = Settings(start_tolerance=np.array([0.5, np.inf]))
    assert plan(Chunk(targets), None, np.zeros(2), STAMP_NS, some_limits(2), settings).used == 24


def test_noisy_chunks_join_without_a_jump(figures: Callable[[str, float], None]) -> None:
    """What a controller is told before and after each of 30 chunks arrives, and at the splice after that."""
    rng = np.random.default_rng(0)
    spliced = naive = None
    jumps: dict[str, list[Floats]] = {"spliced": [], "as they come": []}
    for k in range(30):
        clean = smooth_chunk(0.8 * k)
        chunk = replace(clean, targets=clean.targets + 0.03 * rng.standard_normal((24, 3)))
        now_ns = chunk.stamp_ns + round(0.4 * NS)
        measured = smooth_motion(np.array(now_ns / NS))
        made = plan(chunk, spliced, measured, now_ns, some_limits(3), ANYWHERE)
        unplanned = through_targets(chunk.stamp_ns, chunk.dt_s, chunk.joints, chunk.targets)
        for name, old, new, at_ns in (
            ("spliced", spliced, made.trajectory, np.array([now_ns, made.splice_ns])),
            ("as they come", naive, unplanned, np.array([now_ns])),
        ):
            if old is not None:
                jumps[name].append(np.abs(np.subtract(new.sample(at_ns), old.sample(at_ns))).max(axis=(1, 2)))
        spliced, naive = made.trajectory, unplanned
    for name, rows in jumps.items():
        position, velocity = np.max(rows, axis=0)
        figures(f"largest position jump between noisy chunks, {name} [rad]", position)
        figures(f"largest velocity jump between noisy chunks, {name} [rad/s]", velocity)
    assert np.max(jumps["spliced"]) < 1e-6
    assert (np.max(jumps["as they come"], axis=0) > [0.05, 0.5]).all()


def test_half_the_speed_counts_from_the_stamp() -> None:
    chunk = smooth_chunk(0.0)
    settings = Settings(speed_scale=0.5, smooth=False)
    made = plan(chunk, None, chunk.targets[0], NS // 2, some_limits(3), settings)
    assert made.dropped == 4, "0.57 s at the splice, 0.13 s a step"
    assert made.covered_until_ns == round(24 * 2 / 15 * NS)
    t_ns = np.arange(2, 48, 2) * round(NS / 15) + round(2 * NS / 15)
    late = t_ns > made.splice_ns + NS
    followed = made.trajectory.sample(t_ns[late])[0]
    np.testing.assert_allclose(followed, smooth_motion(t_ns[late] / 2 / NS), atol=1e-3)


def test_a_chunk_too_fast_is_slowed_down_and_keeps_its_shape() -> None:
    """Twice as fast as the limit: half as fast from the splice on, along the same path."""
    u = np.linspace(0.0, 1.0, 24)[:, None]
    line = (3 * u**2 - 2 * u**3) * np.array([2.0, -1.0])
    chunk = Chunk(line)  # joint0: up to 1.95 rad/s
    fastest = through_targets(0, chunk.dt_s, chunk.joints, line).extremes().velocity[0]
    limits = some_limits(2, velocity=fastest / 2)
    settings = replace(ANYWHERE, on_velocity="slow_down")
    clamped = plan(chunk, None, np.zeros(2), STAMP_NS, limits, ANYWHERE)
    slowed = plan(chunk, None, np.zeros(2), STAMP_NS, limits, settings)

    assert clamped.time_scale == 1.0
    assert slowed.time_scale == pytest.approx(2.0)
    assert {hit.limit for hit in slowed.limit_hits} == {"velocity"}
    caught_up_ns = np.arange(slowed.splice_ns + NS, slowed.covered_until_ns, NS // 50)
    q = slowed.trajectory.sample(caught_up_ns)[0]
    np.testing.assert_allclose(q[:, 0], -2 * q[:, 1], atol=1e-6)
    assert np.abs(slowed.trajectory.sample(slowed.covered_until_ns)[0] - line[-1]).max() < 0.02
    assert np.abs(clamped.trajectory.sample(clamped.covered_until_ns)[0] - line[-1]).max() > 0.5


def test_a_gripper_neither_blinks_nor_slows_the_arm_down() -> None:
    targets = np.zeros((24, 2))
    targets[:, 1] = 0.04
    targets[10:12, 1] = 0.0  # taken back
    targets[18:, 1] = 0.0
    limits = Limits(np.array([-1.0, 0.0]), np.array([1.0, 0.04]), np.array([1.0, 0.2]), np.array([5.0, 2.0]))
    grippers = np.array([False, True])
    for policy in ("clamp", "slow_down", "refuse"):
        settings = replace(ANYWHERE, grippers=grippers, on_velocity=policy, on_acceleration=policy)
        made = plan(Chunk(targets), None, np.array([0.0, 0.04]), STAMP_NS, limits, settings)
        due_ns = STAMP_NS + np.arange(1, 25) * NS // 15
        gripper = made.trajectory.sample(due_ns)[0][:, 1]
        assert made.time_scale == 1.0
        assert (gripper[:16] > 0.039).all()
        assert made.trajectory.positions[-1, 1] < 0.001
    without = plan(Chunk(targets), None, np.array([0.0, 0.04]), STAMP_NS, limits, ANYWHERE)
    assert without.trajectory.sample(due_ns)[0][:16, 1].min() < 0.035


def test_a_blip_at_the_splice_does_not_show() -> None:
    """The chunk begins with it, but the gripper was told to be open."""
    open_m, closed = np.array([0.04]), np.zeros((24, 1))
    limits = Limits(np.zeros(1), np.full(1, 0.04), np.full(1, 0.2), np.full(1, 2.0))
    settings = replace(ANYWHERE, grippers=np.array([True]))
    executing = hold(("joint0",), open_m, STAMP_NS)
    blip = np.full((24, 1), 0.04)
    blip[:3] = 0.0  # the first is due before the splice
    made = plan(Chunk(blip), executing, open_m, STAMP_NS + NS // 100, limits, settings)
    assert made.dropped == 1
    np.testing.assert_allclose(made.trajectory.positions, 0.04, atol=1e-9)
    assert plan(Chunk(closed), executing, open_m, STAMP_NS, limits, settings).trajectory.positions[-1] < 1e-3


@pytest.mark.parametrize("name", ["lead_s", "grid_s", "blend_s", "soft_share", "speed_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(MotionError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("soft_share", 1.1),
        ("speed_scale", 1.1),
        ("debounce_steps", -1),
        ("on_position", "slow_down"),
        ("on_velocity", "ignore"),
    ],
)
def test_settings_have_ranges(name: str, value: object) -> None:
    with pytest.raises(MotionError, match=name):
        Settings(**{name: value})


def test_limits_are_checked() -> None:
    with pytest.raises(MotionError, match="velocity must be positive"):
        some_limits(2, velocity=0.0)
    with pytest.raises(MotionError, match="lower must not exceed upper"):
        some_limits(2, reach=-1.0)
    with pytest.raises(MotionError, match="one shape"):
        Limits(np.zeros(2), np.zeros(3), np.ones(2), np.ones(2))
