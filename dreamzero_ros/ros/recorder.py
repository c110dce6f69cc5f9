# SPDX-License-Identifier: Apache-2.0
"""Starts a run and writes down what happened on the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.observation.decode import decode_image, stamp_ns
from dreamzero_ros.observation.intake import Intake
from dreamzero_ros.ros.interfaces import Chunk, PolicyStatus, RunPolicy
from dreamzero_ros.ros.qos import REPORT, SENSOR

Picture = tuple[int, NDArray[np.uint8]]
"""Stamp [ns, ROS clock] and (H, W, 3) RGB."""


@dataclass
class Recording:
    """What was seen; times in ns on the ROS clock, positions in robot units."""

    joints: tuple[str, ...]
    measured_ns: list[int] = field(default_factory=list)
    measured: list[NDArray[np.float64]] = field(default_factory=list)
    commands: list[JointTrajectory] = field(default_factory=list)
    """Everything that controllers were sent, in order of arrival."""
    chunks: list[Chunk] = field(default_factory=list)
    statuses: list[PolicyStatus] = field(default_factory=list)
    """The first status of every chunk."""
    observed: list[Picture] = field(default_factory=list)
    imagined: list[Picture] = field(default_factory=list)
    result: RunPolicy.Result | None = None


class Recorder(Node):
    """A client of the policy node.

    Args:
        embodiment: The robot.
        policy_node: Name of the policy node.
        pictures: Whether to record what the model sees and dreams, too.
        options: As of `rclpy.node.Node`, such as context and namespace.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        policy_node: str = "policy_node",
        pictures: bool = True,
        **options: Any,
    ) -> None:
        super().__init__("recorder", **options)
        self.recording = Recording(joints=embodiment.command_joints)
        self._embodiment = embodiment
        self._buffer = ObservationBuffer(embodiment, np.inf)
        self._intake = Intake(self._buffer, {})
        self.status: PolicyStatus | None = None
        self.run_client = ActionClient(self, RunPolicy, f"{policy_node}/run")
        self._goal: ClientGoalHandle | None = None
        keep = self.recording
        self.create_subscription(JointState, "joint_states", self._take_joints, SENSOR)
        for controller in embodiment.controllers:
            topic = f"{controller.name}/joint_trajectory"
            self.create_subscription(JointTrajectory, topic, keep.commands.append, REPORT)
        self.create_subscription(Chunk, f"{policy_node}/chunk", keep.chunks.append, REPORT)
        self.create_subscription(PolicyStatus, f"{policy_node}/status", self._take_status, REPORT)
        if pictures:
            for name, taken in (("observed", keep.observed), ("imagined", keep.imagined)):
                self.create_subscription(Image, f"{policy_node}/{name}/image", _picture_taker(taken), REPORT)

    @property
    def ready(self) -> bool:
        """Whether the policy node takes runs."""
        active = self.status is not None and self.status.state != PolicyStatus.INACTIVE
        return active and self.run_client.server_is_ready()

    def begin(self, instruction: str) -> None:
        """Sends the goal of a run without a time limit."""
        goal = self.run_client.send_goal_async(RunPolicy.Goal(instruction=instruction))
        goal.add_done_callback(self._take_goal)

    def cancel(self) -> None:
        """Cancels the run; its result comes into the recording."""
        if self._goal is not None:
            self._goal.cancel_goal_async()

    def _take_goal(self, future: Future) -> None:
        self._goal = future.result()
        self._goal.get_result_async().add_done_callback(self._take_result)

    def _take_result(self, future: Future) -> None:
        self.recording.result = future.result().result

    def _take_joints(self, message: JointState) -> None:
        self._intake.joint_state(message, "joint_states")  # the status of the policy node says what is wrong
        newest, measured_ns = self._buffer.newest_positions(), self.recording.measured_ns
        if newest is not None and newest[0] not in measured_ns[-1:]:
            measured_ns.append(newest[0])
            self.recording.measured.append(command_positions(self._embodiment, newest[1]))

    def _take_status(self, message: PolicyStatus) -> None:
        self.status = message
        if message.chunks > len(self.recording.statuses):
            self.recording.statuses.append(message)


def _picture_taker(pictures: list[Picture]):
    def take(message: Image) -> None:
        pictures.append((stamp_ns(message), decode_image(message, "image").copy()))

    return take
