# SPDX-License-Identifier: Apache-2.0
"""Examples of what becomes of a chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from chunks import ANYWHERE, NS, STAMP_NS, Chunk, smooth_chunk, smooth_motion, some_limits

from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.plan import Settings, plan, stop
from dreamzero_ros.motion.splice import through_targets
from dreamzero_ros.motion.trajectory import Floats, hold

pytestmark = pytest.mark.cpu


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
