# SPDX-License-Identifier: Apache-2.0
"""Names, positions and limits of joints."""

from __future__ import annotations

from contextlib import suppress

import pytest
from rclpy.node import Node
from ros_graph import Graph
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.joint_states import JointStateReader
from dreamzero_ros.observation.judgement import ObservationError
from dreamzero_ros.ros.check.joints import check_description, check_names, check_positions
from dreamzero_ros.ros.check.rows import Result
from dreamzero_ros.ros.description import RobotDescription
from dreamzero_ros.ros.messages import joint_state_message
from dreamzero_ros.sim.description import describe

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
START = {**dict.fromkeys(ROBOT.state_joints, 0.0), **ROBOT.start_pose}


def test_missing_joints_are_told_with_the_nearest_name() -> None:
    named = [joint.replace("panda", "fr3") for joint in ROBOT.state_joints]
    row = check_names(ROBOT.state_joints, named, 0)
    assert row.result is Result.FAIL and "8 of 8 are missing" in row.finding and "arm=fr3" in row.fix
    assert "panda_joint1 (nearest: fr3_joint1)" in row.finding


def test_further_joints_do_no_harm() -> None:
    named = [*ROBOT.state_joints, "lift"]
    row = check_names(ROBOT.state_joints, named, 1)
    assert row.result is Result.PASS and "1 others" in row.finding


def test_joints_that_come_in_parts_are_told() -> None:
    row = check_names(ROBOT.state_joints, ROBOT.state_joints, 2)
    assert row.result is Result.PASS and "in 2 kinds of messages, which are merged" in row.finding


def judged(*messages: JointState) -> JointStateReader:
    """What the check has heard, a message every 10 ms."""
    reader = JointStateReader(ROBOT)
    for number, message in enumerate(messages):
        with suppress(ObservationError):
            reader.read(message, 10**18 + number * 10_000_000, "/joint_states")
    return reader


@pytest.mark.parametrize(
    ("joint", "value", "result"),
    [
        ("panda_joint4", -2.5, Result.PASS),
        ("panda_joint4", 0.02, Result.FAIL),
        ("panda_joint4", -0.0690, Result.WARN),
        ("panda_joint1", -90.0, Result.FAIL),
        ("panda_finger_joint1", 0.0401, Result.WARN),
    ],
)
def test_positions_outside_the_limits_are_told(joint: str, value: float, result: Result) -> None:
    positions = START | {joint: value}
    message = joint_state_message(list(positions), list(positions.values()), 1)
    row = check_positions(ROBOT, judged(message))
    assert row.result is result
    assert result is Result.PASS or (joint in row.finding and row.fix)


def test_joint_states_that_cannot_be_used_fail_however_few_they_are() -> None:
    good, spoiled = (joint_state_message(list(START), list(START.values()), 1) for _ in range(2))
    spoiled.position[1] = float("nan")
    row = check_positions(ROBOT, judged(good, spoiled, good, good))
    assert row.result is Result.FAIL and "driver" in row.fix
    assert row.finding == "1 of 4 messages cannot be used: expected finite positions, got panda_joint2 at nan"


def test_what_is_odd_about_usable_joint_states_is_a_warning() -> None:
    there = START | {"panda_joint4": -0.035}
    messages = [joint_state_message(list(there), list(there.values()), 1)]
    messages += [joint_state_message(list(START), list(START.values()), 1)] * 3
    row = check_positions(ROBOT, judged(messages[0]))
    assert row.result is Result.FAIL, "it is there now"
    reader = judged(messages[0])
    reader.read(messages[1], 10**18 + 10**10, "/joint_states")
    row = check_positions(ROBOT, reader)
    assert row.result is Result.WARN and "1 of 2 messages: a joint is outside its limits" in row.finding


def test_a_description_that_agrees_passes_and_one_that_is_tighter_holds() -> None:
    urdf = describe(ROBOT)
    same, row = check_description(ROBOT, urdf)
    assert row.result is Result.PASS and same.limits == ROBOT.limits
    assert "velocity of 8, acceleration of 8, jerk of 0 of 8 joints" in row.finding
    assert 'upper="2.8973"' in urdf
    tighter, row = check_description(ROBOT, urdf.replace('upper="2.8973"', 'upper="2.0"', 1))
    assert row.result is Result.WARN and "2 is used" in row.finding
    assert tighter.limits["panda_joint1"].upper == 2.0


def test_ratios_are_no_differences() -> None:
    yam = load("yam")
    row = check_description(yam, describe(yam))[1]
    assert row.result is Result.PASS and "upper of 12, velocity of 12" in row.finding
    assert "not compared: left_gripper: a ratio in the robot file" in row.finding


def test_a_soft_limit_is_told_with_its_source() -> None:
    soft = '<safety_controller k_velocity="1" soft_lower_limit="-1.0" soft_upper_limit="1.0"/></joint>'
    before, joint, after = describe(ROBOT).partition('<joint name="panda_joint1"')
    tighter, row = check_description(ROBOT, before + joint + after.replace("</joint>", soft, 1))
    assert row.result is Result.WARN and "soft limit of its safety_controller" in row.finding
    assert (tighter.limits["panda_joint1"].lower, tighter.limits["panda_joint1"].upper) == (-1.0, 1.0)


def test_no_description_is_said_and_a_foreign_text_fails() -> None:
    assert check_description(ROBOT, None)[1].result is Result.SKIPPED
    assert check_description(ROBOT, "<xml>")[1].result is Result.FAIL


def test_a_description_that_was_missed_is_told_with_its_publisher(graph: Graph) -> None:
    driver, later = (Node(name, context=graph.context) for name in ("driver", "later"))
    publisher = driver.create_publisher(String, "robot_description", 10)
    publisher.publish(String(data=describe(ROBOT)))
    description = RobotDescription(later, lambda text: None)
    graph.executor.add_node(later)
    graph.wait(description.publishers, "the publisher")
    graph.spend(0.2)
    row = check_description(ROBOT, description.urdf, description.publishers())[1]
    assert row.result is Result.WARN and "of /driver is volatile" in row.finding
    assert "transient_local" in row.fix
