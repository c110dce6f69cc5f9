# SPDX-License-Identifier: Apache-2.0
"""A robot out of thin air: controllers that take trajectories, joint states, and rendered cameras."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from dreamzero_ros.embodiment.schema import Camera
from dreamzero_ros.policy.parameters import setting
from dreamzero_ros.policy.robot_parameters import RobotParameters
from dreamzero_ros.ros.description import TOPIC
from dreamzero_ros.ros.lifecycle import ManagedNode, run_node
from dreamzero_ros.ros.messages import image_message, joint_state_message
from dreamzero_ros.ros.parameters import declare, on_change
from dreamzero_ros.ros.qos import LATCHED, SENSOR
from dreamzero_ros.ros.side_node import SideNode
from dreamzero_ros.ros.sim_clock import SimClock
from dreamzero_ros.ros.sim_controllers import GripperServer, TrajectoryServer, serve_controllers
from dreamzero_ros.ros.sim_goals import ControllerFaults
from dreamzero_ros.sim.description import describe
from dreamzero_ros.sim.render import Renderer
from dreamzero_ros.sim.world import World


@dataclass(frozen=True)
class SimParameters(RobotParameters):
    """Every parameter of the simulation node."""

    joint_state_rate_hz: int = setting(
        100, "Rate of the joint states and of the controllers [1/s].", lowest=10, highest=1000
    )
    cameras: bool = setting(True, "Render the cameras; off where their images come from elsewhere.")
    camera_rate_hz: int = setting(15, "Rate of every camera [1/s].", lowest=1, highest=60)
    image_scale: float = setting(
        1.0, "Rows and columns of the images, relative to the robot file.", lowest=0.1, highest=4.0
    )
    publish_description: bool = setting(
        True, "Publish robot_description; off where robot_state_publisher does."
    )
    blocked: bool = setting(False, "The joints stay where they are, whatever they are told.", live=True)
    reject_goals: bool = setting(False, "The controllers reject every goal of their actions.", live=True)
    path_tolerance: float = setting(
        0.0,
        "The controllers give up a trajectory once a joint is further off it [rad or m]; 0: never.",
        lowest=0.0,
        highest=3.2,
        live=True,
    )
    clock_rate: float = setting(
        0.0,
        "Publishes /clock, and so lets time pass this many times as fast as real time; 0 does not. With it "
        "every node takes use_sim_time:=true.",
        lowest=0.0,
        highest=20.0,
    )


class SimNode(ManagedNode):
    """Simulates the robot of an embodiment file."""

    def __init__(self) -> None:
        super().__init__("sim_node")
        self._settings = declare(self, SimParameters)
        self._controllers: list[TrajectoryServer | GripperServer] = []
        self._faults = ControllerFaults()
        self._take_settings(self._settings)
        on_change(self, lambda: self._settings, self._take_settings)
        self._joint_states: Publisher | None = None
        self._description: Publisher | None = None
        self._cameras: SideNode | None = None
        if self._settings.clock_rate:
            SimClock(self, self._settings.clock_rate)

    def _setup(self) -> None:
        settings = self._settings
        self._robot = settings.load()
        self._joint_states = self.create_publisher(JointState, "joint_states", SENSOR)
        if settings.publish_description:
            self._description = self.create_publisher(String, TOPIC, LATCHED)
            self._description.publish(String(data=describe(self._robot)))
        self._world = World.of(self._robot, self._now_ns())
        self._controllers = serve_controllers(
            self, self._robot.controllers, self._world.positions_of, self._faults
        )

    def _take_settings(self, settings: SimParameters) -> None:
        self._settings = settings
        self._faults.reject_goals = settings.reject_goals
        self._faults.path_tolerance = settings.path_tolerance or np.inf

    def _start(self) -> None:
        self._tick = self.create_timer(1 / self._settings.joint_state_rate_hz, self._step)
        if self._settings.cameras:
            self._cameras = self._start_cameras()

    def _stop(self) -> None:
        self.destroy_timer(self._tick)
        for controller in self._controllers:
            controller.stop()
        if self._cameras is not None:
            self._cameras.close()
            self._cameras = None

    def _teardown(self) -> None:
        for controller in self._controllers:
            controller.close()
        self._controllers = []
        for publisher in (self._joint_states, self._description):
            if publisher is not None:
                self.destroy_publisher(publisher)

    def _step(self) -> None:
        now_ns = self._now_ns()
        for controller in self._controllers:
            setpoint = controller.update(now_ns, self._world.positions_of(controller.joints))
            self._world.command(controller.joints, setpoint)
        self._world.blocked = self._settings.blocked
        self._world.advance(now_ns)
        self._joint_states.publish(joint_state_message(self._world.joints, self._world.positions, now_ns))

    def _start_cameras(self) -> SideNode:
        node = SideNode(self, "cameras")
        cameras = tuple(scaled(camera, self._settings.image_scale) for camera in self._robot.cameras)
        renderer = Renderer(replace(self._robot, cameras=cameras))
        publishers = {
            camera.name: node.create_publisher(Image, node.topic(camera.topic), SENSOR)
            for camera in self._robot.cameras
        }
        start_ns = self._now_ns()
        node.create_timer(
            1 / self._settings.camera_rate_hz,
            lambda: self._publish_images(renderer, publishers, start_ns),
            clock=self.get_clock(),
        )
        node.start()
        return node

    def _publish_images(self, renderer: Renderer, publishers: dict[str, Publisher], start_ns: int) -> None:
        now_ns = self._now_ns()
        images = renderer.render(self._world.by_name(), (now_ns - start_ns) * 1e-9)
        for name, publisher in publishers.items():
            publisher.publish(image_message(images[name], now_ns, name))

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds


def scaled(camera: Camera, factor: float) -> Camera:
    """A camera with more or fewer pixels of the same view."""
    return replace(camera, width=round(factor * camera.width), height=round(factor * camera.height))


def main() -> None:
    """Console entry."""
    sys.exit(run_node(SimNode))


if __name__ == "__main__":
    main()
