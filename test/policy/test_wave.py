# SPDX-License-Identifier: Apache-2.0
"""The wave: every joint moves, smoothly, within its limits, from where it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_bench import Bench

from dreamzero_ros.embodiment.frame import Frame, make_example
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.policy.motion_parameters import MotionParameters
from dreamzero_ros.policy.rollout import State
from dreamzero_ros.policy.wave import PERIODS_S, RATE_SHARE, WavePolicy
from dreamzero_ros.sim.controller import SimJointTrajectoryController, TrajectoryCommand
from dreamzero_ros.sim.world import World

pytestmark = pytest.mark.cpu

ROBOTS = {name: load(name) for name in ("droid_franka", "agibot_g1", "yam")}
NS_PER_S = 1_000_000_000


def seen(robot: Embodiment, seed: int = 0) -> Frame:
    """Somewhere within the limits."""
    return make_example(robot, np.random.default_rng(seed))


def at_start(robot: Embodiment) -> Frame:
    positions = np.array([robot.start_pose[joint] for joint in robot.state_joints])
    return dataclasses.replace(seen(robot), positions=positions)


def later(frame: Frame, seconds: float) -> Frame:
    return dataclasses.replace(frame, stamp_ns=frame.stamp_ns + round(seconds * NS_PER_S))


def motion(robot: Embodiment, frame: Frame, policy: WavePolicy, seconds: float) -> np.ndarray:
    """(N, J) targets of chunks that follow one another: the arm is where the last one ended."""
    targets = []
    for _ in range(int(seconds / (robot.horizon * robot.dt_s))):
        targets.append(policy.infer(frame).targets)
        frame = dataclasses.replace(later(frame, robot.horizon * robot.dt_s), positions=targets[-1][-1])
    return np.vstack(targets)


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
def test_every_joint_moves_and_grippers_open_and_close(robot: Embodiment) -> None:
    targets = motion(robot, at_start(robot), WavePolicy(robot, 0), 2 * PERIODS_S[1])
    for joint, travel in zip(robot.command_joints, np.ptp(targets, axis=0), strict=True):
        limits = robot.limits[joint]
        share = travel / (limits.upper - limits.lower)
        assert share > (0.9 if joint in robot.gripper_joints else 0.05), joint
        assert share < 0.5 or joint in robot.gripper_joints, joint


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(ROBOTS)), seed=st.integers(0, 1000), noise=st.floats(0, 1))
def test_targets_stay_within_the_limits(name: str, seed: int, noise: float) -> None:
    robot = ROBOTS[name]
    limits = [robot.limits[joint] for joint in robot.command_joints]
    targets = motion(robot, seen(robot, seed), WavePolicy(robot, seed, noise), 20)
    assert (targets >= [limit.lower for limit in limits]).all()
    assert (targets <= [limit.upper for limit in limits]).all()


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(ROBOTS)), seed=st.integers(0, 1000))
def test_without_noise_it_is_one_gentle_motion_that_sets_off_from_rest(name: str, seed: int) -> None:
    robot = ROBOTS[name]
    frame = seen(robot, seed)
    begin = command_positions(robot, frame.positions)
    targets = motion(robot, frame, WavePolicy(robot, seed, noise=0), 20)
    way = np.vstack([begin, begin, targets])  # at rest before
    velocity = np.diff(way, axis=0) / robot.dt_s
    acceleration = np.diff(velocity, axis=0) / robot.dt_s
    for found, key in ((velocity, "velocity"), (acceleration, "acceleration")):
        allowed = np.array([getattr(robot.limits[joint], key) for joint in robot.command_joints])
        assert (np.abs(found) <= RATE_SHARE * allowed * (1 + 1e-6)).all()


def test_chunks_disagree_by_the_noise() -> None:
    robot = ROBOTS["droid_franka"]
    noisy, exact = WavePolicy(robot, 3), WavePolicy(robot, 3, noise=0)
    for n in range(5):
        frame = later(seen(robot), n)
        distance = noisy.infer(frame).targets - exact.infer(frame).targets
        inside = np.ptp(distance, axis=0) < 1e-9  # elsewhere the limits cut
        assert inside.sum() >= 4 and (np.abs(distance).max(axis=0) > 0).all()


def test_a_seed_gives_the_same_motion() -> None:
    robot = ROBOTS["yam"]
    one, same, other = (motion(robot, seen(robot), WavePolicy(robot, seed), 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_a_new_session_begins_where_the_arm_is_then() -> None:
    robot = ROBOTS["droid_franka"]
    policy = WavePolicy(robot, 0, noise=0)
    policy.infer(seen(robot, 1))
    policy.reset()
    frame = later(seen(robot, 2), 100)
    chunk = policy.infer(frame)
    np.testing.assert_allclose(chunk.targets[0], command_positions(robot, frame.positions), atol=0.01)
    assert chunk.stamp_ns == frame.stamp_ns and chunk.joints == robot.command_joints


def test_an_arm_that_stays_is_asked_to_set_off_however_late_it_is() -> None:
    """Targets once came from the clock: an arm slowed down by `speed_scale` was asked to jump."""
    robot = ROBOTS["droid_franka"]
    policy = WavePolicy(robot, 0, noise=0)
    frame = seen(robot, 1)
    first = policy.infer(frame).targets
    for seconds in (0.5, 60):
        np.testing.assert_allclose(policy.infer(later(frame, seconds)).targets, first, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(ROBOTS)), seed=st.integers(0, 1000), way=st.floats(0, 1))
def test_a_chunk_goes_on_from_where_the_arm_has_come_to(name: str, seed: int, way: float) -> None:
    """The arm is part of the way along the last chunk: the first target is within a step from there."""
    robot = ROBOTS[name]
    policy = WavePolicy(robot, seed, noise=0)
    frame = seen(robot, seed)
    path = np.vstack([frame.positions, motion(robot, frame, policy, 3.0)[-robot.horizon :]])
    path = path[1:] if len(path) > robot.horizon else path
    row = way * (len(path) - 1)
    positions = np.array([np.interp(row, range(len(path)), column) for column in path.T])
    first = policy.infer(dataclasses.replace(frame, positions=positions)).targets[0]
    step = np.array([robot.limits[joint].velocity for joint in robot.command_joints]) * robot.dt_s
    assert (np.abs(first - positions) <= 1.2 * RATE_SHARE * step).all()


def test_a_gripper_that_holds_something_does_not_hold_the_arm_back() -> None:
    robot = ROBOTS["droid_franka"]
    free, blocked = WavePolicy(robot, 0, noise=0), WavePolicy(robot, 0, noise=0)
    frame = at_start(robot)
    after = free.infer(frame).targets[-1]
    blocked.infer(frame)
    held = np.where(np.isin(robot.command_joints, robot.gripper_joints), frame.positions, after)
    for policy, positions in ((free, after), (blocked, held)):
        policy.last = policy.infer(dataclasses.replace(frame, positions=positions)).targets
    np.testing.assert_array_equal(free.last, blocked.last)


def simulated_arm(bench: Bench) -> Callable[[], np.ndarray]:
    """Positions of a simulated arm, which lags, on a controller that is sent what the rollout commands."""
    joints = bench.robot.command_joints
    world = World.of(bench.robot, bench.now_ns)
    controller = SimJointTrajectoryController(joints, world.positions_of(joints))
    sent: list[Trajectory | None] = [None]

    def positions() -> np.ndarray:
        made = bench.executing
        if made is not sent[0]:
            sent[0] = made
            times_ns = made.points_ns - made.start_ns
            command = TrajectoryCommand(made.start_ns, joints, times_ns, made.positions, made.velocities)
            controller.submit(command, bench.now_ns)
        setpoint, _ = controller.update(bench.now_ns, world.positions_of(joints))
        world.command(joints, setpoint)
        world.advance(bench.now_ns)
        return world.positions_of(bench.robot.state_joints)

    return positions


@pytest.mark.parametrize(
    ("name", "speed_scale", "chunks"), [*product(ROBOTS, (0.2, 1.0), (3,)), ("agibot_g1", 0.05, 2)]
)
def test_every_chunk_is_taken_at_every_speed(name: str, speed_scale: float, chunks: int) -> None:
    """`policy:=wave speed_scale:=0.2`, as the README says, was refused on two of the robots."""
    robot = ROBOTS[name]
    motion_settings = MotionParameters(speed_scale=speed_scale).rollout(robot).motion
    bench = Bench(robot=robot, foresight=None, motion=motion_settings)
    bench.positions = simulated_arm(bench)
    policy = WavePolicy(robot, 0)
    bench.answer = lambda request: policy.infer(request.frame)
    bench.rollout.start("wave")
    bench.run(1.0 + (chunks - 1) * robot.horizon * robot.dt_s / speed_scale)
    assert bench.rollout.state is State.FOLLOWING, bench.rollout.reason
    assert len(bench.commands) >= chunks
    assert [request.new_session for request in bench.requests].count(True) == 1, "a chunk was refused"
    commanded = np.vstack([command.plan.trajectory.positions for command in bench.commands])
    assert np.ptp(commanded, axis=0).max() > 0.02
