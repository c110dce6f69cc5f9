# SPDX-License-Identifier: Apache-2.0
"""Plays recorded videos as the cameras of a robot, at their frame rate, with stamps."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from dreamzero_ros.policy.parameters import setting
from dreamzero_ros.policy.robot_parameters import RobotParameters
from dreamzero_ros.ros.lifecycle import ManagedNode, run_node
from dreamzero_ros.ros.messages import image_message
from dreamzero_ros.ros.parameters import declare
from dreamzero_ros.ros.qos import SENSOR
from dreamzero_ros.sim.footage import Footage


@dataclass(frozen=True)
class FootageParameters(RobotParameters):
    """Every parameter of the footage node."""

    folder: str = setting("", "Folder with one video per camera, named after the cameras of the robot file.")
    loop: bool = setting(True, "Begin again at the end; otherwise the cameras fall silent.")


class FootageNode(ManagedNode):
    """Publishes synchronous image sets; their stamps are the times at which they are published."""

    def __init__(self) -> None:
        super().__init__("footage_node")
        self._settings = declare(self, FootageParameters)
        self._camera_publishers: dict[str, Publisher] = {}

    def _setup(self) -> None:
        settings = self._settings
        if not settings.folder:
            raise ValueError("parameter folder is empty: name a folder with one video per camera")
        robot = settings.load()
        self._footage = Footage(Path(settings.folder), [camera.name for camera in robot.cameras])
        self._camera_publishers = {
            camera.name: self.create_publisher(Image, camera.topic, SENSOR) for camera in robot.cameras
        }
        self.get_logger().info(f"{self._footage.length} image sets at {self._footage.rate_hz:g} Hz")

    def _start(self) -> None:
        self._image_sets = self._footage.play(loop=self._settings.loop)
        self._tick = self.create_timer(1 / self._footage.rate_hz, self._publish)

    def _stop(self) -> None:
        self.destroy_timer(self._tick)

    def _teardown(self) -> None:
        for publisher in self._camera_publishers.values():
            self.destroy_publisher(publisher)
        self._camera_publishers = {}

    def _publish(self) -> None:
        image_set = next(self._image_sets, None)
        if image_set is None:
            self.get_logger().info("end of the footage")
            self._tick.cancel()
            return
        now_ns = self.get_clock().now().nanoseconds
        for name, image in image_set.images.items():
            self._camera_publishers[name].publish(image_message(image, now_ns, name))


def main() -> None:
    """Console entry."""
    sys.exit(run_node(FootageNode))


if __name__ == "__main__":
    main()
