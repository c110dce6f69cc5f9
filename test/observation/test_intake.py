# SPDX-License-Identifier: Apache-2.0
"""Good messages reach the buffer; bad ones are said in words until a good one comes."""

from __future__ import annotations

import dataclasses

import bags
import numpy as np
import pytest

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.buffer import JOINT_STATES, ObservationBuffer
from dreamzero_ros.observation.decode import joint_positions
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
    bad = bags.image(5, encoding="bayer")
    assert intake.image(CAMERA, 5, lambda: read_view(bad, "/camera", CAMERA)) is None
    assert "/camera" in notes[CAMERA.name] and buffer.ages_s(5)[CAMERA.name] is None
    for names, usable in (("xyz", False), (ROBOT.state_joints, True)):
        message = bags.joint_state(7, names)
        read = lambda message=message: joint_positions(message, ROBOT.state_joints, "/joints")  # noqa: E731
        assert intake.joint_state(7, read) is usable
        assert (JOINT_STATES in notes) is not usable
    np.testing.assert_array_equal(buffer.newest_positions()[1], np.arange(len(ROBOT.state_joints)))
