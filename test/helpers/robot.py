# SPDX-License-Identifier: Apache-2.0
"""A robot played by the test process: cameras, joint states, and controllers that follow exactly."""

from __future__ import annotations

import array
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from encoded import encode
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_graph import Graph
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.schema import Camera, Embodiment
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.ros.messages import image_message, joint_state_message, trajectory_of
from dreamzero_ros.ros.qos import COMMAND, SENSOR

JOINT_STATES = "joint_states"
PERIOD_S = 0.01
"""Time from one joint state to the next [s]."""

Fault = Callable[[Any], Any]
"""Takes the good message of a stream and returns what is published instead: one, several, or None."""


def in_parts(message: JointState) -> list[JointState]:
    """A fault that is none: wheels of a base, the arm, and each other joint in a message of its own."""
    stamp, pairs = message.header.stamp, list(zip(message.name, message.position, strict=True))
    arm = [pair for pair in pairs if "finger" not in pair[0]]
    parts = [[("left_wheel", 1.0), ("right_wheel", 2.0)], arm, *([pair] for pair in pairs if pair not in arm)]
    made = []
    for part in parts:
        names, positions = zip(*part, strict=True)
        made.append(JointState(name=list(names), position=list(positions)))
        made[-1].header.stamp = stamp
    return made


def encoded_as(encoding: str) -> Fault:
    """A fault that is none: the same picture in another raw encoding."""

    def encode_again(message: Image) -> Image:
        rgb = np.reshape(message.data, (message.height, message.width, 3))
        data, step = encode(rgb, encoding)
        return Image(
            header=message.header,
            height=message.height,
            width=message.width,
            encoding=encoding,
            step=step,
            data=array.array("B", data),
        )

    return encode_again


class Robot(Node):
    """Publishes joint states at 100 Hz and images at the control rate, all good until a test spoils a stream.

    In a graph with simulated time it acts in every step of it, else on a thread of its own.

    Args:
        graph: The graph that it is part of.
        embodiment: The robot file.
        namespace: Of all topics.
        topics: By camera, or `JOINT_STATES`: where a stream goes if not to its default topic.
        cameras_only: Whether somebody else, such as the simulation, has the joints.
    """

    def __init__(
        self,
        graph: Graph,
        embodiment: Embodiment,
        namespace: str = "",
        topics: Mapping[str, str] = {},
        cameras_only: bool = False,
    ) -> None:
        super().__init__("robot", namespace=namespace, **graph.node_options)
        self.faults: dict[str, Fault] = {}
        """By stream."""
        self._graph = graph
        self._robot = embodiment
        self._executing: dict[tuple[str, ...], Trajectory] = {}
        self._periods = -1
        self._joint_states = None
        self._patterns = {camera.name: _pattern(camera) for camera in embodiment.cameras}
        self._cameras = {
            camera: self.create_publisher(
                CompressedImage if camera.compressed else Image,
                topics.get(camera.name, camera.topic),
                SENSOR,
            )
            for camera in embodiment.cameras
        }
        if not cameras_only:
            self._joint_states = self.create_publisher(
                JointState, topics.get(JOINT_STATES, "joint_states"), SENSOR
            )
            for controller in embodiment.controllers:
                topic = f"{controller.name}/joint_trajectory"
                self.create_subscription(JointTrajectory, topic, self.obey, COMMAND)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def positions(self, now_ns: int) -> dict[str, float]:
        """Where every joint is [rad or m]."""
        found = dict(self._robot.start_pose)
        for joints, trajectory in self._executing.items():
            found |= zip(joints, trajectory.sample(now_ns)[0].tolist(), strict=True)
        return found

    def obey(self, message: JointTrajectory) -> None:
        """Executes a trajectory of one controller; any thread may ask for it."""
        self._executing = {**self._executing, tuple(message.joint_names): trajectory_of(message)}

    def step(self, now_ns: int) -> None:
        """Publishes what is due."""
        if self._joint_states is not None:
            positions = self.positions(now_ns)
            message = joint_state_message(list(positions), list(positions.values()), now_ns)
            self._publish(JOINT_STATES, self._joint_states, message)
        periods = int(now_ns * 1e-9 / self._robot.dt_s)
        if periods > self._periods:
            self._periods = periods
            for camera, publisher in self._cameras.items():
                self._publish(camera.name, publisher, self._image(camera, now_ns))

    def __enter__(self) -> Robot:
        if self._graph.clock is not None:
            self._graph.executor.add_node(self)
            self._graph.clock.steps.append(self.step)
        else:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._graph.clock is not None:
            self._graph.clock.steps.remove(self.step)
            self._graph.executor.remove_node(self)
        else:
            self._leaving.set()
            self._thread.join()
        self.destroy_node()

    def _live(self) -> None:
        self.create_timer(PERIOD_S, lambda: self.step(self.get_clock().now().nanoseconds))
        executor = SingleThreadedExecutor(context=self._graph.context)
        executor.add_node(self)
        while not self._leaving.is_set():
            executor.spin_once(timeout_sec=0.1)
        executor.shutdown()

    def _publish(self, stream: str, publisher: Any, message: Any) -> None:
        message = self.faults.get(stream, lambda good: good)(message)
        for one in message if isinstance(message, list) else [message]:
            if one is not None:
                publisher.publish(one)

    def _image(self, camera: Camera, now_ns: int) -> Image | CompressedImage:
        """A pattern that wanders."""
        picture = self._patterns[camera.name] + np.uint8(self._periods % 256)
        message = image_message(picture, now_ns, camera.name)
        if not camera.compressed:
            return message
        _, data = cv2.imencode(".jpg", picture)
        return CompressedImage(header=message.header, format="jpeg", data=data.tobytes())


def _pattern(camera: Camera) -> np.ndarray:
    """(H, W, 3) values that grow to the right, downwards, and both ways."""
    rows, columns = np.mgrid[: camera.height, : camera.width].astype(np.uint8)
    return np.stack([rows, columns, rows + columns], axis=-1)
