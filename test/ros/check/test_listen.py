# SPDX-License-Identifier: Apache-2.0
"""The preflight judges streams as the policy node and the player do, whatever else is on the topic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from robot import JOINT_STATES, Fault, Robot, encoded_as, in_parts
from ros_graph import Graph

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.check.cameras import check_camera
from dreamzero_ros.ros.check.joints import check_joint_states
from dreamzero_ros.ros.check.listen import Listener, spinning
from dreamzero_ros.ros.check.rows import Result, Row
from dreamzero_ros.ros.messages import time_message

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
LEFT = ROBOT.cameras[0].name
SECONDS = 1.0

Hear = Callable[[dict[str, Fault]], dict[str, Row]]


@pytest.fixture(scope="module")
def hear(paced: Graph) -> Hear:
    """The rows of the joint states and of one camera, by name, of a robot with some faults."""

    def listen(faults: dict[str, Fault]) -> dict[str, Row]:
        node = Node("policy_node", **paced.node_options)
        with Robot(paced, ROBOT) as robot, spinning(node):
            robot.faults.update(faults)
            listener = Listener(node, ROBOT, 1.0)
            paced.wait(
                lambda: listener.joint_states.judgement.received and all(listener.images.values()),
                "every stream",
            )
            listener.restart()
            paced.spend(SECONDS)
            listener.rest()
            rows = check_camera(listener, ROBOT, ROBOT.cameras[0], SECONDS)
            rows += check_joint_states(listener, ROBOT, SECONDS)
            listener.close()
        node.destroy_node()
        return {row.what: row for row in rows}

    return listen


def alternately(spoil: Fault) -> Fault:
    """A fault of every second message."""
    count = 0

    def maybe(message: Any) -> Any:
        nonlocal count
        count += 1
        return spoil(message) if count % 2 else message

    return maybe


def nan(message: Any) -> Any:
    message.position[2] = float("nan")
    return message


def cut(message: Any) -> Any:
    message.data = message.data[:50]
    return message


def wheels_only(message: Any) -> Any:
    return in_parts(message)[0]


def beside_zeros(message: Any) -> list[Any]:
    other = copy.deepcopy(message)
    other.position = [0.0] * len(message.name)
    other.header.stamp = time_message(stamp_ns(message) + 5_000_000)
    return [message, other]


def degrees(message: Any) -> Any:
    message.position = [*np.degrees(message.position[:7]), message.position[7]]
    return message


def test_parts_wheels_and_mosaics_pass(hear: Hear) -> None:
    rows = hear({JOINT_STATES: in_parts, LEFT: encoded_as("bayer_grbg8")})
    assert {row.result for row in rows.values()} == {Result.PASS}, rows
    assert (
        rows["joints"].finding == "all 8 are named, in 2 kinds of messages, which are merged, beside 2 others"
    )
    assert rows["image"].finding == "320x180 bayer_grbg8, as in the robot file"
    assert {"rate of panda_finger_joint1", "stamps of panda_finger_joint1"} < rows.keys()


@pytest.mark.parametrize(
    ("stream", "fault", "what", "finding", "fix"),
    [
        (JOINT_STATES, alternately(nan), "positions", "finite positions, got panda_joint3 at nan", "driver"),
        (JOINT_STATES, beside_zeros, "positions", "two that disagree: panda_joint4 at", "end one of them"),
        (JOINT_STATES, degrees, "positions", "fits degrees", "publish rad"),
        (JOINT_STATES, wheels_only, "joints", "8 of 8 are missing", "embodiment_parameters"),
        (LEFT, alternately(cut), "image", "172800 bytes for 320x180, got only 50", "look for a driver"),
    ],
)
def test_what_cannot_be_used_fails_and_is_counted(
    hear: Hear, stream: str, fault: Fault, what: str, finding: str, fix: str
) -> None:
    row = hear({stream: fault})[what]
    assert row.result is Result.FAIL, row
    assert finding in row.finding and fix in row.fix
    assert " of " in row.finding
