# SPDX-License-Identifier: Apache-2.0
"""Hears what the policy node would hear, on the same topics and with the same settings."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.observation.intake import Notes
from dreamzero_ros.observation.joint_states import JointStateReader
from dreamzero_ros.observation.judgement import ObservationError
from dreamzero_ros.ros.check.samples import Samples
from dreamzero_ros.ros.description import RobotDescription
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.observation_bridge import CameraIntake, JointStateIntake
from dreamzero_ros.ros.qos import COMMAND, REPORT, SENSOR
from dreamzero_ros.ros.side_node import SideNode

PROBE = "probe"
"""What the name of the node that listens for the check alone ends in."""


class Listener:
    """Collects the streams of a robot, and feeds the same observation buffer as the policy node.

    Args:
        node: Bears name, namespace, remappings and clock of the policy node.
        robot: The robot file.
        max_age_s: Oldest that an observation may be [s].
    """

    def __init__(self, node: Node, robot: Embodiment, max_age_s: float) -> None:
        self.node = node
        self._robot = robot
        self.buffer = ObservationBuffer(robot, max_age_s)
        self.notes: Notes = {}
        """By stream, what is wrong with its messages."""
        self.images = {camera.name: Samples() for camera in robot.cameras}
        """By camera."""
        self.joints: dict[tuple[int, ...], Samples] = {}
        """Messages that name joints of the robot, by which of `Embodiment.state_joints` they name."""
        self.joint_states = JointStateReader(robot)
        """Judges all joint states."""
        self.commands: Counter[str] = Counter()
        """Trajectories heard, by controller."""
        self.status: PolicyStatus | None = None
        """Newest status of a policy node that runs."""
        self.description = RobotDescription(node, lambda urdf: None)
        self._probe = SideNode(node, PROBE)
        for camera in robot.cameras:
            kind = CompressedImage if camera.compressed else Image
            take = partial(self._take, self.images[camera.name])
            self._probe.create_subscription(kind, self._probe.topic(camera.topic), take, SENSOR)
        topic = self._probe.topic
        self._probe.create_subscription(JointState, topic("joint_states"), self._take_joints, SENSOR)
        for controller in robot.controllers:
            heard, name = partial(self._count, controller.name), topic(command_topic(controller.name))
            self._probe.create_subscription(JointTrajectory, name, heard, COMMAND)
        node.create_subscription(PolicyStatus, "~/status", self._take_status, REPORT)
        self._joint_states = JointStateIntake(node, self.buffer, self.notes)
        self._cameras = CameraIntake(node, robot, self.buffer, self.notes, lambda: None)
        self.cameras = self._cameras.intake
        """Judges all images."""
        self._probe.start()

    @property
    def complete(self) -> bool:
        """Whether every stream has been heard."""
        return not self.joint_states.unnamed and all(self.images.values())

    def restart(self) -> None:
        """Forgets what was heard of the streams while they were found."""
        self.joints, self.joint_states = {}, JointStateReader(self._robot)
        for samples in self.images.values():
            samples.heard = []

    def rest(self) -> None:
        """Hears from now on only what the policy node does, so that the policy is as fast as there."""
        self._probe.close()

    def close(self) -> None:
        """Ends the thread of the cameras."""
        self._cameras.close()

    def now_ns(self) -> int:
        """Time on the ROS clock [ns]."""
        return self.node.get_clock().now().nanoseconds

    def _take(self, samples: Samples, message: Any) -> None:
        samples.add(message, stamp_ns(message), self.now_ns())

    def _take_joints(self, message: JointState) -> None:
        reader, stamp, topic = self.joint_states, stamp_ns(message), "joint_states"
        columns = reader.columns(message, topic)
        if columns:
            self._take(self.joints.setdefault(columns, Samples()), message)
        with suppress(ObservationError):  # counted by the reader
            reader.read(message, stamp, topic)

    def _take_status(self, message: PolicyStatus) -> None:
        self.status = message

    def _count(self, controller: str, message: JointTrajectory) -> None:
        self.commands[controller] += 1


def command_topic(controller: str) -> str:
    """Topic on which a joint_trajectory_controller takes trajectories."""
    return f"{controller}/joint_trajectory"


@contextmanager
def spinning(node: Node) -> Iterator[None]:
    """Handles the messages of a node on a thread of its own."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    leaving = threading.Event()

    def spin() -> None:
        while rclpy.ok(context=node.context) and not leaving.is_set():
            try:
                executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                return

    thread = threading.Thread(target=spin, name="listener", daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join()
        executor.shutdown()


def wait(done: Callable[[], bool], seconds: float) -> bool:
    """Waits until something holds, at most some seconds; returns whether it does."""
    limit = time.monotonic() + seconds
    while not done():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True
