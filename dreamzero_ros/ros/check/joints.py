# SPDX-License-Identifier: Apache-2.0
"""The joint states, and the limits of the robot description."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from rclpy.qos import QoSDurabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import JointState

from dreamzero_ros.embodiment.description import with_description
from dreamzero_ros.embodiment.reader import EmbodimentError
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.checkpoint import first
from dreamzero_ros.observation.joint_states import INSIDE_AGAIN, ROUNDING, JointStateReader, outside
from dreamzero_ros.observation.judgement import commonest
from dreamzero_ros.ros.check.graph import check_publisher, names, silent
from dreamzero_ros.ros.check.listen import Listener
from dreamzero_ros.ros.check.rows import Result, Row, failed, failed_with, passed, skipped, warned
from dreamzero_ros.ros.check.samples import check_rate, check_stamps
from dreamzero_ros.ros.qos import SENSOR

LIMITS = "limits"
"""What the row of the robot description is called."""


def check_joint_states(listener: Listener, robot: Embodiment, seconds: float) -> list[Row]:
    """The rows of the joint states, as far as they make sense."""
    parts, reader, max_age_s = listener.joints, listener.joint_states, listener.buffer.max_age_s
    fix = "remap joint_states to the topic of the robot's driver"
    topic = check_publisher(listener.node, "joint_states", JointState, SENSOR, fix)
    if topic.result is Result.FAIL:
        return [topic]
    if not reader.judgement.received:
        return [topic, silent(seconds)]
    rows = [topic]
    for columns, samples in parts.items():
        of = f" of {first([robot.state_joints[column] for column in columns])}" if len(parts) > 1 else ""
        rows.append(check_rate(f"rate{of}", samples, robot.joint_tolerance_s, max_age_s))
        rows.append(check_stamps(f"stamps{of}", samples, max_age_s))
    rows.append(check_names(robot.state_joints, reader.named, len(parts)))
    if rows[-1].result is Result.FAIL:
        return rows
    return [*rows, check_positions(robot, reader)]


def check_names(wanted: Collection[str], named: Collection[str], parts: int) -> Row:
    """Whether every joint of the robot file is there.

    Args:
        wanted: Joints of the robot file.
        named: Joints that were heard of.
        parts: Number of kinds of messages that name joints of the robot file.
    """
    missing = [joint for joint in wanted if joint not in named]
    spare = sorted(set(named) - set(wanted))
    if not missing:
        merged = f", in {parts} kinds of messages, which are merged" if parts > 1 else ""
        return passed("joints", f"all {len(wanted)} are named{merged}, beside {len(spare)} others")
    close = [(joint, difflib.get_close_matches(joint, spare, n=1)) for joint in missing]
    told = [f"{joint} (nearest: {near[0]})" if near else joint for joint, near in close]
    fix = "take the names of the driver: embodiment_parameters (such as arm=fr3), or the robot file"
    return failed("joints", f"{len(missing)} of {len(wanted)} are missing: {first(told)}", fix)


def check_positions(robot: Embodiment, reader: JointStateReader) -> Row:
    """Whether the joint states can be used, and every joint is inside its limits.

    Args:
        robot: The robot file.
        reader: Has read joint states that name every joint of it.
    """
    what, judgement = "positions", reader.judgement
    refusal, remark = commonest(judgement.refusals), commonest(judgement.remarks)
    if refusal is not None:
        expected, found = refusal
        count = f"{found.count} of {judgement.own} messages cannot be used"
        return failed(what, f"{count}: expected {expected}, got {found.got}", found.fix)
    beyond = outside(robot, reader.newest)
    words = first([joint.words for joint in beyond])
    if beyond and beyond[0].share > ROUNDING:
        return failed(what, words, INSIDE_AGAIN)
    if remark is not None:
        kind, found = remark
        return warned(what, f"{found.count} of {judgement.own} messages: {kind}: {found.got}", found.fix)
    if beyond:
        return warned(what, words, "within rounding; compare the limits in the robot file")
    positions = dict(zip(robot.state_joints, reader.newest.tolist(), strict=True))
    away, joint = max((abs(positions[joint] - goal), joint) for joint, goal in robot.start_pose.items())
    finding = (
        f"inside the limits; {joint} is furthest from the start pose, {away:.2g} {robot.joint_units[joint]}"
    )
    return passed(what, finding)


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
