# SPDX-License-Identifier: Apache-2.0
"""The tighter of robot file and robot description wins, bound by bound, and every difference is told."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.embodiment.description import described_joints, with_description
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


BOUNDS = ("lower", "upper", "velocity", "acceleration")


def test_joints_as_a_description_has_them():
    found = described_joints(
        urdf(
            joint("turn", lower=-1, upper=2, velocity=3, acceleration=4),
            joint("slide", "prismatic", upper=0.5, velocity=0),
            joint("wheel", "continuous", velocity="1e1"),
            joint("unknown", lower=0, upper=0),
            '<joint name="bare" type="continuous"><axis xyz="0 0 1"/></joint>',
            joint("flange", "fixed"),
            joint("free", "floating"),
        )
    )
    assert {name: dataclasses.astuple(value) for name, value in found.items()} == {
        "turn": ("rad", -1, 2, 3, 4),
        "slide": ("m", 0, 0.5, None, None),
        "wheel": ("rad", None, None, 10, None),
        "unknown": ("rad", None, None, None, None),
        "bare": ("rad", None, None, None, None),
    }


@pytest.mark.parametrize("name", ["droid_franka", "agibot_g1", "example"])
def test_a_description_that_agrees_changes_nothing(name: str):
    robot = load(name)
    assert with_description(robot, same(robot)) == (robot, [])


def test_the_tighter_bound_wins_and_every_difference_is_told():
    robot = load("agibot_g1")
    lift = joint("idx01_body_joint1", "prismatic", lower=-0.1, upper=0.5, velocity=0.05, acceleration=9)
    wheel = joint("idx11_head_joint1", "continuous", velocity=0.5)
    changed, differences = with_description(
        robot, same(robot, idx01_body_joint1=lift, idx11_head_joint1=wheel)
    )
    limit = changed.limits["idx01_body_joint1"]
    assert (limit.lower, limit.upper, limit.velocity, limit.acceleration) == (0.0, 0.5, 0.05, 0.3)
    assert differences == [
        "idx11_head_joint1: velocity is 1 rad/s in the robot file, 0.5 in robot_description; 0.5 is used",
        "idx01_body_joint1: lower is 0 m in the robot file, -0.1 in robot_description; 0 is used",
        "idx01_body_joint1: upper is 0.55 m in the robot file, 0.5 in robot_description; 0.5 is used",
        "idx01_body_joint1: velocity is 0.1 m/s in the robot file, 0.05 in robot_description; 0.05 is used",
        "idx01_body_joint1: acceleration is 0.3 m/s^2 in the robot file, 9 in robot_description; 0.3 is used",
    ]
    head = changed.limits["idx11_head_joint1"]
    assert (head.lower, head.upper, head.velocity) == (-1.5708, 1.5708, 0.5)
    others = set(robot.limits) - {"idx01_body_joint1", "idx11_head_joint1"}
    assert all(changed.limits[name] == robot.limits[name] for name in others)


@given(st.lists(st.floats(0.2, 5), min_size=4, max_size=4))
def test_no_bound_is_ever_wider_than_either_side(values: list[float]):
    robot = load("droid_franka", {"arm": "fr3"})
    name, (low, high, velocity, acceleration) = "fr3_joint1", values
    theirs = joint(name, lower=-low, upper=high, velocity=velocity, acceleration=acceleration)
    ours = robot.limits[name]
    found = with_description(robot, same(robot, **{name: theirs}))[0].limits[name]
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
    changed, differences = with_description(robot, same(robot, **{name: theirs}))
    assert differences == []
    assert changed.limits[name].upper == changed.start_pose[name] == 0.785398


def test_joints_that_are_missing_or_fixed_are_told_with_the_nearest_name():
    robot = load("droid_franka")
    fixed = joint("panda_joint7", "fixed")
    text = same(robot, panda_joint7=fixed).replace("panda_joint3", "panda_joint_3")
    changed, differences = with_description(robot, text)
    assert changed == robot
    assert len(differences) == 2
    assert differences[0].startswith("panda_joint3: robot_description has no joint of this name that moves;")
    assert "did you mean 'panda_joint_3'?" in differences[0]
    assert differences[1].startswith("panda_joint7: ")


def test_a_ratio_is_not_compared_with_metres():
    """The YAM's driver reports a share of the travel; 0.05 m taken for one would shut the gripper."""
    robot = load("yam")
    finger = joint("left_gripper", "prismatic", lower=0, upper=0.05, velocity=1)
    changed, differences = with_description(robot, same(robot, left_gripper=finger))
    assert changed == robot
    assert (
        differences[0] == "left_gripper: a ratio in the robot file, in m in robot_description; not compared"
    )
    assert len(differences) == 2


MISTAKES = [
    ("", "document: expected URDF"),
    ("<robot>", "document: expected URDF"),
    ("<sdf/>", "expected <robot> as the outermost element, got <sdf>"),
    (joint("a", upper="high"), r"joint a: limit upper: expected a number, got 'high'"),
    (joint("a", upper="nan"), r"joint a: limit upper: expected a number, got 'nan'"),
    (joint("a", upper="${pi}"), r"got '\$\{pi\}'; expand xacro first"),
    (joint("a", velocity=-1), "joint a: limit velocity: expected a number from 0, got '-1'"),
    (joint("a", lower=2, upper=1), "joint a: limit: expected lower not above upper, got 2 and 1"),
    (joint("panda_joint1", "prismatic", upper=1), "panda_joint1: expected a joint that moves in rad.*got m"),
    (joint("panda_joint4", lower=0.5, upper=1), r"overlaps the robot file's -3.0718 to -0.0698 rad, got 0.5"),
    (joint("panda_joint2", lower=0, upper=1), r"around the robot file's start pose, -0.62\d*, got 0 to 1"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_each_mistake_names_joint_and_fix(text: str, words: str):
    robot = load("droid_franka")
    with pytest.raises(EmbodimentError, match=f"^robot_description: .*{words}"):
        with_description(robot, urdf(text) if text.startswith("<joint") else text)
