# SPDX-License-Identifier: Apache-2.0
"""The joint states, and the limits of the robot description."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Any

from rclpy.qos import QoSDurabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import JointState

from dreamzero_ros.embodiment.description import with_description
from dreamzero_ros.embodiment.reader import EmbodimentError
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.checkpoint import first
from dreamzero_ros.observation.buffer import JOINT_STATES
from dreamzero_ros.ros.check.graph import check_publisher, names, silent
from dreamzero_ros.ros.check.listen import Listener
from dreamzero_ros.ros.check.rows import Result, Row, failed, failed_with, passed, skipped, warned
from dreamzero_ros.ros.check.samples import check_rate, check_stamps
from dreamzero_ros.ros.qos import SENSOR

LIMITS = "limits"
"""What the row of the robot description is called."""
ROUNDING = 0.01
"""Share of its range by which a joint may be outside of it: sensors and end stops are no sharper."""


def check_joint_states(listener: Listener, robot: Embodiment, seconds: float) -> list[Row]:
    """The rows of the joint states, as far as they make sense."""
    samples, max_age_s = listener.joints, listener.buffer.max_age_s
    fix = "remap joint_states to the topic of the robot's driver"
    topic = check_publisher(listener.node, "joint_states", JointState, SENSOR, fix)
    if topic.result is Result.FAIL:
        return [topic]
    if not samples:
        return [topic, silent(seconds)]
    rows = [
        topic,
        check_rate("rate", samples, robot.joint_tolerance_s, max_age_s),
        check_stamps("stamps", samples, max_age_s),
        check_names(robot.state_joints, listener.joint_names, samples.newest.name),
    ]
    if rows[-1].result is Result.FAIL:
        return rows
    note = listener.notes.get(JOINT_STATES)
    if note:
        finding, _, fix = note.rpartition("; ")
        return [*rows, failed("positions", finding, fix)]
    return [*rows, check_positions(robot, samples.newest)]


def check_names(wanted: Collection[str], named: Collection[str], together: Collection[str]) -> Row:
    """Whether every joint of the robot file is there.

    Args:
        wanted: Joints of the robot file.
        named: Joints that were heard of.
        together: Joints of one message.
    """
    missing = [joint for joint in wanted if joint not in named]
    apart = [joint for joint in wanted if joint not in together]
    if apart and not missing:
        fix = "let one publisher name all of them, such as joint_state_publisher with source_list"
        return failed("joints", f"spread over several messages; one lacks {first(apart)}", fix)
    if not missing:
        return passed("joints", f"all {len(wanted)} are named, beside {len(set(named) - set(wanted))} others")
    spare = sorted(set(named) - set(wanted))
    close = [(joint, difflib.get_close_matches(joint, spare, n=1)) for joint in missing]
    told = [f"{joint} (nearest: {near[0]})" if near else joint for joint, near in close]
    fix = "take the names of the driver: embodiment_parameters (such as arm=fr3), or the robot file"
    return failed("joints", f"{len(missing)} of {len(wanted)} are missing: {first(told)}", fix)


def check_positions(robot: Embodiment, message: Any) -> Row:
    """Whether every joint is inside its limits.

    Args:
        robot: The robot file.
        message: A joint state that names every joint of it.
    """
    positions = dict(zip(message.name, message.position, strict=True))
    beyond, outside = 0.0, []
    for joint in robot.state_joints:
        limit, unit = robot.limits[joint], robot.joint_units[joint]
        excess = max(limit.lower - positions[joint], positions[joint] - limit.upper)
        if excess > 0:
            beyond = max(beyond, excess / (limit.upper - limit.lower))
            outside.append(
                f"{joint} at {positions[joint]:.4g}, limits {limit.lower:g} to {limit.upper:g} {unit}"
            )
    if beyond > ROUNDING:
        fix = "move the arm inside its limits; or compare units and limits in the robot file"
        return failed("positions", first(outside), fix)
    if outside:
        return warned("positions", first(outside), "within rounding; compare the limits in the robot file")
    away, joint = max((abs(positions[joint] - goal), joint) for joint, goal in robot.start_pose.items())
    finding = (
        f"inside the limits; {joint} is furthest from the start pose, {away:.2g} {robot.joint_units[joint]}"
    )
    return passed("positions", finding)


def check_description(
    robot: Embodiment, urdf: str | None, publishers: Sequence[TopicEndpointInfo] = ()
) -> tuple[Embodiment, Row]:
    """Compares the limits of the robot file with those of the robot description.

    Args:
        robot: The robot file.
        urdf: Content of the robot description; None where none was heard.
        publishers: Those of its topic.

    Returns:
        The robot with the tighter of both, and the row.
    """
    if urdf is None:
        return robot, _unheard(publishers)
    try:
        found = with_description(robot, urdf)
    except EmbodimentError as error:
        return robot, failed_with(
            LIMITS, error, "correct the robot file, or publish this robot's description"
        )
    if found.differences:
        fix = "correct the robot file where it is wrong"
        return found.robot, warned(LIMITS, first(list(found.differences)), fix)
    counts = ", ".join(f"{bound} of {count}" for bound, count in found.compared.items())
    finding = f"within robot_description in what both give: {counts} of {len(robot.joint_units)} joints"
    if found.not_compared:
        finding += f"; not compared: {first(list(found.not_compared))}"
    return found.robot, passed(LIMITS, finding)


def _unheard(publishers: Sequence[TopicEndpointInfo]) -> Row:
    """The row of a robot description that was not heard."""
    if not publishers:
        return skipped(LIMITS, "robot_description is not published", "start robot_state_publisher")
    volatile = [info for info in publishers if info.qos_profile.durability is QoSDurabilityPolicy.VOLATILE]
    if not volatile:
        finding = f"robot_description of {names(publishers)} has not come"
        return warned(LIMITS, finding, "is its quality of service reliable? Else see the network")
    finding = f"robot_description of {names(volatile)} is volatile: who comes later does not hear it"
    fix = (
        "publish it transient_local, as robot_state_publisher does; or start that node after the policy node"
    )
    return warned(LIMITS, finding, fix)
