# SPDX-License-Identifier: Apache-2.0
"""The description of the simulated robot against the simulation's own poses and the robot file."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.embodiment.description import with_description
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.embodiment.urdf import described_joints
from dreamzero_ros.kinematics.chain import Chain
from dreamzero_ros.sim.description import FINGER_GAP_M, ROOT, describe
from dreamzero_ros.sim.kinematics import FINGER_TRAVEL_M, arms_of, joint_axes

pytestmark = pytest.mark.cpu

ROBOTS = {
    "panda": load("droid_franka"),
    "fr3": load("droid_franka", {"arm": "fr3"}),
    "agibot_g1": load("agibot_g1"),
    "yam": load("yam"),
    "example": load("example"),
}
SHARES = st.lists(st.floats(0, 1), min_size=24, max_size=24)


def positions(robot: Embodiment, shares: list[float]) -> dict[str, float]:
    """A share of its range for each joint."""
    rows = zip(robot.limits.items(), shares, strict=False)
    return {joint: limit.lower + share * (limit.upper - limit.lower) for (joint, limit), share in rows}


@pytest.fixture
def _pinocchio() -> None:
    pytest.importorskip("pinocchio", reason="pinocchio is not installed: requirements/kinematics.txt")


@pytest.mark.usefixtures("_pinocchio")
@pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
@settings(max_examples=20, deadline=None)
@given(shares=SHARES)
def test_arms_are_where_the_simulation_draws_them(robot: Embodiment, shares: list[float]) -> None:
    urdf, at = describe(robot), positions(robot, shares)
    names, values = tuple(at), np.array(list(at.values()))
    for arm in arms_of(robot):
        drawn = arm.pose(at)
        flange = Chain(urdf, f"{arm.joints[-1]}_flange").poses(names, values)
        np.testing.assert_allclose(flange[:3, 3], drawn.points[-1], atol=1e-9)
        np.testing.assert_allclose(flange[:3, :3], drawn.hand, atol=1e-9)
        axes = joint_axes(len(arm.joints))
        pitches = [joint for joint, axis in zip(arm.joints, axes, strict=True) if axis == 1]
        for joint, point in zip(pitches, drawn.points[1:], strict=False):
            pose = Chain(urdf, joint).poses(names, values)
            np.testing.assert_allclose(pose[:3, 3], point, atol=1e-9)


@pytest.mark.usefixtures("_pinocchio")
@settings(max_examples=20, deadline=None)
@given(opening=st.floats(0, 1))
def test_a_finger_is_where_the_simulation_draws_it(opening: float) -> None:
    robot = ROBOTS["panda"]
    joint, _ = arms_of(robot)[0].gripper
    finger = Chain(describe(robot), joint, base=f"{robot.state_joints[6]}_flange")
    pose = finger.poses((joint,), np.array([opening * robot.limits[joint].upper]))
    assert pose[1, 3] == pytest.approx(FINGER_GAP_M + FINGER_TRAVEL_M * opening)


@pytest.mark.usefixtures("_pinocchio")
@pytest.mark.parametrize("name", ["agibot_g1", "yam"])
def test_fingers_that_swing_go_apart_towards_open(name: str) -> None:
    robot = ROBOTS[name]
    urdf = describe(robot)
    for arm in arms_of(robot):
        joint, mapping = arm.gripper
        for side, finger in ((1, joint), (-1, f"{joint}_mimic")):
            chain = Chain(urdf, finger, base=f"{arm.joints[-1]}_flange")
            tips = {
                point: (chain.poses((finger,), np.array([value])) @ [0, 0, 0.07, 1])[1]
                for point, value in zip(mapping.names, mapping.robot, strict=True)
            }
            assert side * tips["open"] > side * tips["closed"] > 0


@pytest.mark.usefixtures("_pinocchio")
@pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
def test_end_effectors_of_the_robot_file_are_there(robot: Embodiment) -> None:
    urdf = describe(robot)
    for tip in robot.end_effectors.values():
        chain = Chain(urdf, tip)
        assert chain.base == ROOT
        assert set(chain.joints) <= set(robot.command_joints)
        assert chain.joints


@pytest.mark.usefixtures("_pinocchio")
def test_each_arm_has_its_end_effector() -> None:
    robot = dataclasses.replace(
        ROBOTS["yam"], end_effectors={"left": "left_tool", "right": "right_tool", "camera": "right_camera"}
    )
    urdf = describe(robot)
    tips = robot.end_effectors.values()
    moving = {tip: {joint.split("_")[0] for joint in Chain(urdf, tip).joints} for tip in tips}
    assert moving == {"left_tool": {"left"}, "right_tool": {"right"}, "right_camera": {"right"}}


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)
def test_limits_are_those_of_the_robot_file(robot: Embodiment) -> None:
    urdf = describe(robot)
    assert set(robot.limits) <= set(described_joints(urdf))
    found = with_description(robot, urdf)
    assert found.robot == robot and not found.differences
    ratios = [joint for joint, unit in robot.joint_units.items() if unit == "ratio"]
    assert len(found.not_compared) == len(ratios)
    assert all(
        text.startswith(f"{joint}: a ratio") for joint, text in zip(ratios, found.not_compared, strict=True)
    )
