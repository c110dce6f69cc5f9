# SPDX-License-Identifier: Apache-2.0
"""Chunks are shown to MoveIt before they are executed: would the robot hit itself or its surroundings?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.task import Future

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.embodiment.urdf import described_joints
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.ros.description import TOPIC, RobotDescription
from dreamzero_ros.ros.packages import apt_install
from dreamzero_ros.ros.side_node import SideNode

SERVICE = "check_state_validity"
"""Of move_group, in the namespace of the node."""
NAMED_CONTACTS = 3
"""Contacts that a refusal names."""
OFF = "set moveit_check_every:=0 to go without"


class StateValidity:
    """Asks MoveIt's state validity service about targets of a chunk, from any thread but the node's.

    MoveIt sees each target as a difference to the state that it knows: objects that are attached stay so,
    and joints that are not commanded are where it last saw them. Joints in the unit ratio are left to that
    state too, as the robot model knows rad and m only. Between the targets nothing is looked at, nor is
    what smoothing and limits make of them.

    The name of a joint that its robot does not have ends move_group, as nobody catches the exception of its
    robot model. So only joints of ``robot_description`` are named to it: a gripper that is not there is left
    to its state, too; without any other joint nothing is asked, and chunks are refused.

    Args:
        node: Its namespace and remappings hold for the service and for ``robot_description``.
        embodiment: The robot.
        every: Every n-th target is asked about, at least 1; the last one always is.
        group: Planning group whose collisions count; empty: the whole robot.
        timeout_s: Longest time for the answers to a chunk [s], by the clock of the machine.

    Raises:
        ValueError: moveit_msgs is not installed.
    """

    name = "MoveIt"

    def __init__(self, node: Node, embodiment: Embodiment, every: int, group: str, timeout_s: float) -> None:
        self._kind = _get_state_validity()
        self._embodiment = embodiment
        self._every = every
        self._group = group
        self._timeout_s = timeout_s
        self._news = threading.Event()
        self._interrupted = False
        self._described: frozenset[str] | None = None
        self._node = SideNode(node, "moveit")
        self._client = self._node.create_client(self._kind, node.resolve_service_name(SERVICE))
        self._description = RobotDescription(self._node, self._take_description, self._node.topic(TOPIC))
        self._node.start()

    def check(self, chunk: ActionChunk) -> None:
        """Returns when MoveIt calls all targets that it is asked about valid.

        Raises:
            MotionError: One is not, with its contacts; or MoveIt cannot be asked, or has not answered in
                time.
        """
        if not np.isfinite(chunk.targets).all():
            raise MotionError("chunk: targets that are not finite cannot be shown to MoveIt")
        if not self._client.service_is_ready():
            raise MotionError(f"no service {self._client.srv_name}: start move_group, or {OFF}")
        joints = self._joints()
        asked = checked_targets(len(chunk.targets), self._every)
        answers = [self._client.call_async(self._request(chunk, target, joints)) for target in asked]
        for answer in answers:
            answer.add_done_callback(lambda _: self._news.set())
        self._await(answers)
        for target, answer in zip(asked, answers, strict=True):
            response = answer.result()
            if not response.valid:
                due_s = (target + 1) * chunk.dt_s
                raise MotionError(
                    f"chunk: target {target}, due {due_s:.2f} s after its observation, is invalid for "
                    f"MoveIt: {contacts_in_words(response.contacts)}"
                )

    def interrupt(self) -> None:
        """The check under way, and every later one, ends at once by refusing."""
        self._interrupted = True
        self._news.set()

    def close(self) -> None:
        """Ends the thread of the client."""
        self._node.close()

    def _take_description(self, urdf: str) -> None:
        self._described = frozenset(described_joints(urdf))

    def _joints(self) -> list[str]:
        """What may be named to MoveIt."""
        if self._described is None:
            raise MotionError(
                f"no {TOPIC} has come, which says what joints may be named to MoveIt: start "
                f"robot_state_publisher, or {OFF}"
            )
        joints = [joint for joint in self._embodiment.command_joints if joint in self._described]
        missing = set(self._embodiment.command_joints).difference(joints, self._embodiment.gripper_joints)
        if missing:
            raise MotionError(
                f"{TOPIC} has no {', '.join(sorted(missing))}, so MoveIt cannot be asked: name the joints "
                f"of the robot file as they are there, or {OFF}"
            )
        units = self._embodiment.joint_units
        return [joint for joint in joints if units[joint] != "ratio"]

    def _request(self, chunk: ActionChunk, target: int, joints: list[str]) -> Any:
        request = self._kind.Request(group_name=self._group)
        request.robot_state.is_diff = True
        state = request.robot_state.joint_state
        state.name = joints
        state.position = [chunk.targets[target, chunk.joints.index(joint)] for joint in joints]
        return request

    def _await(self, answers: list[Future]) -> None:
        """Waits for all, and forgets all when one does not come."""
        limit_s = time.monotonic() + self._timeout_s
        while not all(answer.done() for answer in answers):
            left_s = limit_s - time.monotonic()
            if left_s <= 0 or self._interrupted:
                for answer in answers:
                    self._client.remove_pending_request(answer)
                raise MotionError(self._unanswered(answers))
            self._news.wait(left_s)
            self._news.clear()

    def _unanswered(self, answers: list[Future]) -> str:
        if self._interrupted:
            return "interrupted before MoveIt had answered"
        missing = sum(not answer.done() for answer in answers)
        return (
            f"MoveIt has not answered {missing} of {len(answers)} questions about a chunk within "
            f"{self._timeout_s:g} s: raise moveit_timeout_s or moveit_check_every, or {OFF}"
        )


def checked_targets(targets: int, every: int) -> list[int]:
    """Numbers of the targets that are asked about: every n-th, and the last."""
    return sorted({*range(every - 1, targets, every), targets - 1})


def contacts_in_words(contacts: Iterable[Any]) -> str:
    """What touches what and how deep, the deepest first.

    Args:
        contacts: moveit_msgs/ContactInformation; `depth` counts in either sign, as collision checkers differ.
    """
    depths_m: dict[tuple[str, ...], float] = {}
    for contact in contacts:
        pair = tuple(sorted((contact.contact_body_1, contact.contact_body_2)))
        depths_m[pair] = max(abs(contact.depth), depths_m.get(pair, 0.0))
    if not depths_m:
        return "it names no contacts"
    worst = sorted(depths_m.items(), key=lambda item: -item[1])
    words = [f"{one} and {other} {depth_m * 1e3:.1f} mm deep" for (one, other), depth_m in worst]
    more = len(words) - NAMED_CONTACTS
    return ", ".join(words[:NAMED_CONTACTS]) + (f" and {more} more" if more > 0 else "")


def _get_state_validity() -> Any:
    """The service type.

    Raises:
        ValueError: moveit_msgs is not installed.
    """
    try:
        from moveit_msgs.srv import GetStateValidity
    except ImportError as error:
        raise ValueError(
            "checking chunks with MoveIt needs moveit_msgs, which is not installed: "
            f"{apt_install('moveit_msgs')}, or {OFF}"
        ) from error
    return GetStateValidity
