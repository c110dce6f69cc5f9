# SPDX-License-Identifier: Apache-2.0
"""The tighter of robot file and robot description wins, bound by bound, and every difference is told."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.embodiment.description import with_description
from dreamzero_ros.embodiment.load import EmbodimentError, load
from dreamzero_ros.embodiment.schema import Embodiment

pytestmark = pytest.mark.cpu


def joint(name: str, kind: str = "revolute", **limit: float | str) -> str:
    attributes = "".join(f' {key}="{value}"' for key, value in limit.items())
    return f'<joint name="{name}" type="{kind}"><limit effort="1"{attributes}/></joint>'


def urdf(*joints: str) -> str:
    return f'<?xml version="1.0"?><robot name="r">{"".join(joints)}</robot>'


def same(robot: Embodiment, **changes: str) -> str:
    """A description that says what the robot file says, but for some joints."""
    kinds = {"rad": "revolute", "m": "prismatic", "ratio": "prismatic"}
    written = {
        name: joint(name, kinds[unit], **{key: getattr(robot.limits[name], key) for key in BOUNDS})
        for name, unit in robot.joint_units.items()
    }
    return urdf(*{**written, **changes}.values())


FR3 = load("droid_franka", {"arm": "fr3"})
BOUNDS = ("lower", "upper", "velocity", "acceleration")


@pytest.mark.parametrize("name", ["droid_franka", "agibot_g1", "example"])
def test_a_description_that_agrees_changes_nothing(name: str):
    robot = load(name)
    found = with_description(robot, same(robot))
    assert (found.robot, found.differences, found.not_compared) == (robot, (), ())
    joints = len(robot.joint_units)
    assert found.compared == {**dict.fromkeys(BOUNDS, joints), "jerk": 0}


def test_the_tighter_bound_wins_and_every_difference_is_told():
    robot = load("agibot_g1")
    lift = joint("idx01_body_joint1", "prismatic", lower=-0.1, upper=0.5, velocity=0.05, acceleration=0.2)
    wheel = joint("idx11_head_joint1", "continuous", velocity=0.5)
    found = with_description(robot, same(robot, idx01_body_joint1=lift, idx11_head_joint1=wheel))
    changed = found.robot
    limit = changed.limits["idx01_body_joint1"]
    assert (limit.lower, limit.upper, limit.velocity, limit.acceleration) == (0.0, 0.5, 0.05, 0.2)
    assert list(found.differences) == [
        "idx11_head_joint1: velocity is 1 rad/s in the robot file, 0.5 in robot_description; 0.5 is used",
        "idx01_body_joint1: lower is 0 m in the robot file, -0.1 in robot_description; 0 is used",
        "idx01_body_joint1: upper is 0.55 m in the robot file, 0.5 in robot_description; 0.5 is used",
        "idx01_body_joint1: velocity is 0.1 m/s in the robot file, 0.05 in robot_description; 0.05 is used",
        "idx01_body_joint1: acceleration is 0.3 m/s^2 in the robot file, 0.2 in robot_description; 0.2 is "
        "used",
    ]
    head = changed.limits["idx11_head_joint1"]
    assert (head.lower, head.upper, head.velocity) == (-1.5708, 1.5708, 0.5)
    others = set(robot.limits) - {"idx01_body_joint1", "idx11_head_joint1"}
    assert all(changed.limits[name] == robot.limits[name] for name in others)


@given(st.lists(st.floats(0.2, 5), min_size=4, max_size=4))
def test_no_bound_is_ever_wider_than_either_side(values: list[float]):
    robot = FR3
    name, (low, high, velocity, acceleration) = "fr3_joint1", values
    theirs = joint(name, lower=-low, upper=high, velocity=velocity, acceleration=acceleration)
    ours = robot.limits[name]
    found = with_description(robot, same(robot, **{name: theirs})).robot.limits[name]
    assert found.lower == max(-low, ours.lower)
    assert found.upper == min(high, ours.upper)
    assert found.velocity == min(velocity, ours.velocity)
    assert found.acceleration == min(acceleration, ours.acceleration)
    assert found.velocity_taper == ours.velocity_taper


def test_numbers_that_differ_by_rounding_are_no_difference_but_hold():
    robot = load("agibot_g1")
    name = "idx41_gripper_l_outer_joint1"
    robot = dataclasses.replace(robot, start_pose={**robot.start_pose, name: 0.7854})
    theirs = joint(name, lower=0, upper=0.785398, velocity=3)
    found = with_description(robot, same(robot, **{name: theirs}))
    changed = found.robot
    assert not found.differences
    assert changed.limits[name].upper == changed.start_pose[name] == 0.785398


def test_joints_that_are_missing_or_fixed_are_told_with_the_nearest_name():
    robot = load("droid_franka")
    fixed = joint("panda_joint7", "fixed")
    text = same(robot, panda_joint7=fixed).replace("panda_joint3", "panda_joint_3")
    found = with_description(robot, text)
    differences = found.differences
    assert found.robot == robot
    assert len(differences) == 2
    assert differences[0].startswith("panda_joint3: robot_description has no joint of this name that moves;")
    assert "did you mean 'panda_joint_3'?" in differences[0]
    assert differences[1].startswith("panda_joint7: ")


def test_a_ratio_is_not_compared_with_metres():
    """The YAM's driver reports a share of the travel; 0.05 m taken for one would shut the gripper."""
    robot = load("yam")
    finger = joint("left_gripper", "prismatic", lower=0, upper=0.05, velocity=1)
    found = with_description(robot, same(robot, left_gripper=finger))
    assert found.robot == robot and not found.differences
    assert found.not_compared[0] == "left_gripper: a ratio in the robot file, in m in robot_description"
    assert len(found.not_compared) == 2
    assert found.compared["upper"] == 12


def test_a_limit_outside_of_the_limit_element_holds_and_is_named():
    robot = load("droid_franka")
    soft = '<safety_controller k_position="100" k_velocity="40" soft_lower_limit="-1" soft_upper_limit="1"/>'
    theirs = joint("panda_joint1", lower=-2.8973, upper=2.8973).replace("</joint>", f"{soft}</joint>")
    command = '<command_interface name="velocity"><param name="min">-2</param><param name="max">1.5</param>'
    hardware = (
        f'<ros2_control><joint name="panda_joint2">{command}</command_interface></joint></ros2_control>'
    )
    text = same(robot, panda_joint1=theirs).replace("</robot>", f"{hardware}</robot>")
    found = with_description(robot, text)
    limit = found.robot.limits["panda_joint1"]
    assert (limit.lower, limit.upper) == (-1.0, 1.0)
    assert found.robot.limits["panda_joint2"].velocity == 1.5
    soft_limit = "robot_description (soft limit of its safety_controller)"
    assert found.differences[0] == (
        f"panda_joint1: lower is -2.8973 rad in the robot file, -1 in {soft_limit}; -1 is used"
    )
    assert found.differences[2].endswith(
        "1.5 in robot_description (ros2_control velocity command); 1.5 is used"
    )
    assert len(found.differences) == 3


def test_a_robot_file_that_is_slower_than_the_robot_is_no_difference():
    robot = load("droid_franka")
    fast = joint("panda_joint1", lower=-2.8973, upper=2.8973, velocity=2.175, acceleration=15, jerk=7500)
    found = with_description(robot, same(robot, panda_joint1=fast))
    assert found.robot == robot and not found.differences


def test_a_jerk_of_either_side_holds_and_of_both_the_lower():
    robot = load("droid_franka")
    for ours, theirs, used in ((None, 900, 900), (800.0, 900, 800), (1000.0, 900, 900)):
        limits = {
            **robot.limits,
            "panda_joint1": dataclasses.replace(robot.limits["panda_joint1"], jerk=ours),
        }
        changed = dataclasses.replace(robot, limits=limits)
        found = with_description(changed, same(robot, panda_joint1=joint("panda_joint1", jerk=theirs)))
        assert found.robot.limits["panda_joint1"].jerk == used
        assert len(found.differences) == (ours == 1000)


def test_a_joint_that_only_follows_another_is_no_joint_to_command():
    robot = load("droid_franka")
    mimic = joint("panda_finger_joint1", "prismatic", upper=0.04).replace(
        "</joint>", '<mimic joint="panda_finger_joint2"/></joint>'
    )
    assert with_description(robot, same(robot, panda_finger_joint1=mimic)).differences == (
        "panda_finger_joint1: commanded by the robot file, but in robot_description it follows "
        "panda_finger_joint2 (mimic); command that joint",
    )


MISTAKES = [
    (joint("a", upper="high"), r"joint a: limit upper: expected a number, got 'high'"),
    (joint("panda_joint1", "prismatic", upper=1), "panda_joint1: expected a joint that moves in rad.*got m"),
    (joint("panda_joint4", lower=0.5, upper=1), r"overlaps the robot file's -3.0718 to -0.0698 rad, got 0.5"),
    (joint("panda_joint2", lower=0, upper=1), r"around the robot file's start pose, -0.62\d*, got 0 to 1"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_each_mistake_names_joint_and_fix(text: str, words: str):
    robot = load("droid_franka")
    with pytest.raises(EmbodimentError, match=f"^robot_description: .*{words}"):
        with_description(robot, urdf(text))
