# SPDX-License-Identifier: Apache-2.0
"""The robot file says which topics are looked for."""

from __future__ import annotations

import pytest

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.streams import Kind, streams

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")


def test_they_are_on_the_topics_of_the_nodes() -> None:
    assert {stream.name: stream.topic for stream in streams(ROBOT)} == {
        "exterior_image_1_left": "/exterior_image_1_left/image_raw",
        "exterior_image_2_left": "/exterior_image_2_left/image_raw",
        "wrist_image_left": "/wrist_image_left/image_raw",
        "joint_states": "/joint_states",
        "panda_arm_controller": "/panda_arm_controller/joint_trajectory",
        "panda_hand_controller": "/panda_hand_controller/joint_trajectory",
    }
    assert [stream.required for stream in streams(ROBOT)] == [True] * 4 + [False] * 2


def test_topics_may_be_others_and_namespaces_hold_for_relative_ones() -> None:
    other = {"joint_states": "/robot/joints", "wrist_image_left": "wrist"}
    found = {stream.name: stream.topic for stream in streams(ROBOT, other, "/left/")}
    assert found["joint_states"] == "/robot/joints"
    assert found["wrist_image_left"] == "/left/wrist"
    assert found["panda_arm_controller"] == "/left/panda_arm_controller/joint_trajectory"


def test_a_gripper_action_has_no_stream_of_commands() -> None:
    robot = load("droid_franka", {"hand": "gripper_command"})
    commands = [stream.name for stream in streams(robot) if stream.kind is Kind.COMMANDS]
    assert commands == ["panda_arm_controller"]


def test_an_unknown_stream_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'wrist_image'; did you mean 'wrist_image_left'"):
        streams(ROBOT, {"wrist_image": "/wrist"})
