# SPDX-License-Identifier: Apache-2.0
"""The wave: every joint moves, smoothly, within its limits, from where it was."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.embodiment.frame import Frame, make_example
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.policy.wave import PERIODS_S, RATE_SHARE, WavePolicy

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
    """(N, J) targets of chunks that follow one another without overlap, a control step apart."""
    count = int(seconds / (robot.horizon * robot.dt_s))
    chunks = [policy.infer(later(frame, n * robot.horizon * robot.dt_s)) for n in range(count)]
    return np.vstack([chunk.targets for chunk in chunks])


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
