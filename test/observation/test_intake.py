# SPDX-License-Identifier: Apache-2.0
"""Good messages reach the buffer; bad ones are said in words until a good one comes."""

from __future__ import annotations

import dataclasses

import bags
import numpy as np
import pytest

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.buffer import JOINT_STATES, ObservationBuffer
from dreamzero_ros.observation.intake import Intake, read_view

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
CAMERA = ROBOT.cameras[0]


def test_an_image_is_brought_to_its_size() -> None:
    notes = {CAMERA.name: "an old note"}
    buffer = ObservationBuffer(ROBOT, 1.0)
    message = bags.image(5, 2 * CAMERA.width, 2 * CAMERA.height)
    view = Intake(buffer, notes).image(CAMERA, 5, lambda: read_view(message, "/camera", CAMERA))
    assert view is not None and view.image.shape == (CAMERA.height, CAMERA.width, 3)
    sizes = f"{2 * CAMERA.width}x{2 * CAMERA.height} are brought to {CAMERA.width}x{CAMERA.height}"
    assert view.resizing(CAMERA) == f"images of {sizes} ({CAMERA.fit})"
    same = dataclasses.replace(CAMERA, width=2 * CAMERA.width, height=2 * CAMERA.height)
    assert read_view(message, "/camera", same).resizing(same) == ""
    assert buffer.ages_s(5)[CAMERA.name] == 0.0 and not notes


def test_what_cannot_be_used_is_said_until_something_can() -> None:
    notes: dict[str, str] = {}
    buffer = ObservationBuffer(ROBOT, 1.0)
    intake = Intake(buffer, notes)
    bad = bags.image(5, encoding="of_its_own")
    assert intake.image(CAMERA, 5, lambda: read_view(bad, "/camera", CAMERA)) is None
    assert "/camera" in notes[CAMERA.name] and buffer.ages_s(5)[CAMERA.name] is None
    spoiled = bags.at_start(ROBOT, 7)
    spoiled.position[2] = np.nan
    assert not intake.joint_state(spoiled, "/joints")
    assert "/joints: expected finite positions, got panda_joint3 at nan" in notes[JOINT_STATES]
    assert intake.joint_state(bags.at_start(ROBOT, 8), "/joints") and JOINT_STATES not in notes
    np.testing.assert_array_equal(buffer.newest_positions()[1], list(ROBOT.start_pose.values()))
    judged = {stream: (found.own, found.refused) for stream, found in intake.judgements.items()}
    assert judged == {
        **{camera.name: (0, 0) for camera in ROBOT.cameras},
        CAMERA.name: (1, 1),
        JOINT_STATES: (2, 1),
    }


def test_joints_that_were_never_named_are_said_until_they_are() -> None:
    notes: dict[str, str] = {}
    intake = Intake(ObservationBuffer(ROBOT, 1.0), notes)
    joints = ROBOT.state_joints
    pose = list(ROBOT.start_pose.values())
    assert not intake.joint_state(bags.joint_state(5, ["left_wheel", "panda_finger"]), "/joints")
    assert intake.joint_state(bags.joint_state(6, joints[:7], pose[:7]), "/joints")
    assert "got no panda_finger_joint1 (but panda_finger); compare the joint names" in notes[JOINT_STATES]
    assert intake.joint_state(bags.joint_state(7, joints[7:], pose[7:]), "/joints") and not notes


def test_a_part_that_cannot_be_used_is_said_whatever_the_others_are() -> None:
    """The gripper's good messages between those of the arm must not hide what is wrong with the arm."""
    notes: dict[str, str] = {}
    intake = Intake(ObservationBuffer(ROBOT, 1.0), notes)
    joints, pose = ROBOT.state_joints, list(ROBOT.start_pose.values())
    for number, arm in enumerate([pose[:7], [*pose[:6], np.inf], pose[:7]]):
        assert intake.joint_state(bags.joint_state(10 + number, joints[:7], arm), "/joints") is (number != 1)
        assert intake.joint_state(bags.joint_state(10 + number, joints[7:], pose[7:]), "/joints")
        assert ("panda_joint7 at inf" in notes.get(JOINT_STATES, "")) is (number == 1)
