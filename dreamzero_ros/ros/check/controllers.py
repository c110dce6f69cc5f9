# SPDX-License-Identifier: Apache-2.0
"""The controllers, and who else wants to command them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.embodiment.schema import Controller, Embodiment
from dreamzero_ros.ros.check.graph import full_name, names
from dreamzero_ros.ros.check.listen import PROBE, Listener, command_topic
from dreamzero_ros.ros.check.rows import Row, failed, passed, warned
from dreamzero_ros.ros.goal_watch import ACTIONS
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.packages import apt_install
from dreamzero_ros.ros.status import NAMES

RESTING = (PolicyStatus.INACTIVE, PolicyStatus.IDLE)


def check_controller(node: Node, robot: Embodiment, controller: Controller, output: str) -> Row:
    """Whether a controller takes commands.

    Args:
        node: Its namespace and remappings hold.
        robot: The robot file.
        controller: One of its controllers.
        output: How it is commanded, `topic` or `action`; one of type gripper_command by its action anyway.
    """
    topic = command_topic(controller.name)
    takers = _of_others(node, node.get_subscriptions_info_by_topic(topic))
    action = f"{controller.name}/{ACTIONS[controller.type]}"
    served = node.get_publishers_info_by_topic(f"{action}/_action/status")
    by_topic = controller.type == "joint_trajectory" and output == "topic"
    if by_topic and takers:
        return passed(controller.name, f"{node.resolve_topic_name(topic)}: taken by {names(takers)}")
    if not by_topic and find_spec("control_msgs") is None:
        finding = "control_msgs is not installed, so no action can be used"
        return failed(controller.name, finding, apt_install("control_msgs"))
    if not by_topic and served:
        return passed(controller.name, f"{node.resolve_topic_name(action)}: served by {names(served)}")
    fix = "load and activate it: ros2 control list_controllers; or correct controllers in the robot file"
    if by_topic:
        finding = f"nobody takes {node.resolve_topic_name(topic)}"
        if served:
            return failed(controller.name, f"{finding}, but the action is served", "command_output:=action")
        return failed(controller.name, finding + _hint(node, topic, _command_topics(robot)), fix)
    finding = f"nobody serves {node.resolve_topic_name(action)}"
    if takers:
        return failed(controller.name, f"{finding}, but the topic is taken", "command_output:=topic")
    return failed(controller.name, finding, fix)


def check_commanders(listener: Listener, robot: Embodiment) -> Row:
    """Whether somebody else commands the controllers."""
    node, what = listener.node, "other commanders"
    others = [
        info
        for topic in _command_topics(robot)
        for info in _of_others(node, node.get_publishers_info_by_topic(topic))
    ]
    fix = "end it before a run: two commanders pull the arm to and fro"
    if listener.commands:
        count = sum(listener.commands.values())
        return failed(what, f"{count} trajectories were heard, of {names(others) or 'a policy node'}", fix)
    if others:
        return warned(what, f"silent so far: {names(others)}", fix)
    return passed(what, "none")


def check_policy_node(listener: Listener) -> Row:
    """Whether a policy node is there already, and whether it moves the arm."""
    node, what = listener.node, "policy node"
    publishers = node.get_publishers_info_by_topic("~/status")
    if not publishers and listener.status is None:
        return passed(what, "none is up yet")
    if len(publishers) > 1:
        fix = "end all but one, or give each a namespace"
        return failed(what, f"{len(publishers)} of this name are up", fix)
    name = names(publishers) or node.get_fully_qualified_name()  # it may be heard before it is in the graph
    if listener.status is None:
        return warned(what, f"{name} is up and silent", "look at its log")
    state = NAMES[listener.status.state]
    if listener.status.state in RESTING:
        return passed(what, f"{name} is up: {listener.status.reason or state}")
    fix = "end the run first: Ctrl-C in ros2 run dreamzero_ros run, or deactivate the node"
    return failed(what, f"{name} is in a run ({state})", fix)


def _of_others(node: Node, infos: Sequence[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
    """Endpoints but those of the check itself, or of the policy node, whose name it has."""
    own = node.get_fully_qualified_name()
    return [info for info in infos if full_name(info) not in (own, f"{own}_{PROBE}")]


def _command_topics(robot: Embodiment) -> list[str]:
    return [command_topic(controller.name) for controller in robot.controllers]


def _hint(node: Node, topic: str, known: Sequence[str]) -> str:
    """The nearest of the topics on which trajectories are taken, but those that are known."""
    kind = "trajectory_msgs/msg/JointTrajectory"
    full = node.resolve_topic_name(topic)
    spoken_for = [node.resolve_topic_name(name) for name in known]
    found = [
        name
        for name, kinds in node.get_topic_names_and_types()
        if kind in kinds
        and name not in spoken_for
        and _of_others(node, node.get_subscriptions_info_by_topic(name))
    ]
    return f"; {nearest(full, found)}" if found else "; no other controller is there"
