# SPDX-License-Identifier: Apache-2.0
"""Errors of the end effector against those worked out by hand."""

from __future__ import annotations

import sys
from dataclasses import replace as other

import numpy as np
import pytest
from episodes import make_episode, replace

from dreamzero_ros.evaluation.end_effector import arms, end_effector_sums
from dreamzero_ros.evaluation.episode import Episode, Floats
from dreamzero_ros.evaluation.measures import measure
from dreamzero_ros.kinematics.chain import KinematicsError

pytestmark = pytest.mark.cpu

LINKS = ("floor", "lift", "upper", "lower", "hand", "finger")


def joint(name: str, kind: str, parent: str, child: str, x: float) -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{x} 0 0"/><axis xyz="0 0 1"/>'
        '<limit lower="-3" upper="3" velocity="1" effort="1"/></joint>'
    )


ARM = (
    '<robot name="arm">'
    + "".join(f'<link name="{link}"/>' for link in LINKS)
    + joint("column", "prismatic", "floor", "lift", 0)
    + joint("joint1", "revolute", "lift", "upper", 0)
    + joint("joint2", "revolute", "upper", "lower", 1)
    + joint("wrist", "fixed", "lower", "hand", 0.5)
    + joint("gripper", "prismatic", "hand", "finger", 0.1)
    + "</robot>"
)
"""Two joints about z, 1 m apart, and a hand 0.5 m behind the second; on a column that nobody commands."""


def still(t_s: Floats) -> Floats:
    return np.zeros((*t_s.shape, 3))


@pytest.fixture
def episode() -> Episode:
    pytest.importorskip("pinocchio", reason="pinocchio is not installed: requirements/kinematics.txt")
    return make_episode(still, calls=2, urdf=ARM)


def sums(episode: Episode, *offsets: tuple[float, float, float]) -> tuple[Floats, Floats]:
    """Mean errors [mm, deg] of targets that are off by as much, and how many there are."""
    predictions = np.stack([episode.calls.recorded + offset for offset in offsets])
    found = end_effector_sums(episode, predictions)
    pairs = np.stack([found["ee_position_mm"], found["ee_rotation_deg"]])
    return pairs[..., 0] / pairs[..., 1], pairs[..., 1]


def test_errors_by_hand(episode: Episode) -> None:
    angle = 0.2
    chord_mm = 2000 * np.sin(angle / 2)
    errors, counts = sums(episode, (0, 0, 0), (angle, 0, 0), (0, angle, 0), (angle, -angle, 0.03))
    np.testing.assert_allclose(errors[0], [0, 1.5 * chord_mm, 0.5 * chord_mm, chord_mm], atol=1e-9)
    np.testing.assert_allclose(errors[1], np.degrees([0, angle, angle, 0]), atol=1e-6)
    assert (counts == 2 * 24).all()


def test_they_are_the_same_wherever_the_arm_is(episode: Episode) -> None:
    bent = replace(episode, recorded=episode.calls.recorded + np.array([0.7, 0, 0]))
    np.testing.assert_allclose(sums(bent, (0, 0.2, 0))[0], sums(episode, (0, 0.2, 0))[0])


def test_joints_in_another_order_and_of_another_arm_do_not_matter(episode: Episode) -> None:
    joints, units = ("gripper", "elsewhere", "joint2", "joint1"), ("ratio", "rad", "rad", "rad")
    wider = np.zeros((2, 24, 4))
    calls = other(episode.calls, recorded=wider)
    turned = other(episode, joints=joints, units=units, calls=calls)
    found = end_effector_sums(turned, wider[None] + np.array([9, 9, 0, 0.2]))
    assert found["ee_position_mm"][0, 0] / 48 == pytest.approx(1.5 * 2000 * np.sin(0.1))


def test_gaps_are_left_out(episode: Episode) -> None:
    recorded = episode.calls.recorded.copy()
    recorded[0, :4, 1], recorded[0, 4:6, 2] = np.nan, np.nan
    predictions = np.full((1, 2, 24, 3), 0.2)
    predictions[0, 1, 0, 0] = np.nan
    found = end_effector_sums(replace(episode, recorded=recorded), predictions)
    assert found["ee_position_mm"][0, 1] == found["ee_rotation_deg"][0, 1] == 48 - 4 - 1
    empty = end_effector_sums(replace(episode, recorded=recorded * np.nan), predictions)
    assert not empty["ee_position_mm"].any()


def test_the_end_is_what_carries_the_gripper_or_else_what_the_last_joint_moves(episode: Episode) -> None:
    assert arms(episode) == [("lift", "hand")]
    assert arms(replace(episode, grippers=())) == [("lift", "gripper")]
    assert arms(replace(episode, urdf=ARM.replace('"gripper"', '"driver"'))) == [("lift", "joint2")]


def test_two_arms_on_one_base() -> None:
    second = "".join(f'<link name="right_{link}"/>' for link in ("upper", "lower"))
    second += joint("joint3", "revolute", "lift", "right_upper", 0)
    second += joint("joint4", "revolute", "right_upper", "right_lower", 1)
    joints = ("joint1", "joint2", "gripper", "joint3", "joint4")
    both = replace(make_episode(urdf=ARM.replace("</robot>", second + "</robot>")), joints=joints)
    assert arms(both) == [("lift", "hand"), ("lift", "joint4")]


def test_what_is_no_robot_description_or_that_of_another_robot() -> None:
    with pytest.raises(KinematicsError, match="expected URDF"):
        arms(make_episode(urdf="<robot"))
    with pytest.raises(KinematicsError, match="expected one of joint1, joint2, gripper, got none"):
        arms(make_episode(urdf=ARM.replace("joint", "axis")))


def test_an_episode_says_why_it_has_no_such_errors(episode: Episode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ee_position_mm" in measure(episode).tallies.sums
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    for urdf, words in (
        ("", "no robot_description"),
        ("<robot", "expected URDF"),
        (ARM, "needs pinocchio: apt install"),
    ):
        measures = measure(replace(episode, urdf=urdf))
        assert "ee_position_mm" not in measures.tallies.sums
        assert any(words in notice for notice in measures.notices), urdf
