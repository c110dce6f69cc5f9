# SPDX-License-Identifier: Apache-2.0
"""Trajectories -> the topics of the robot's controllers."""

from __future__ import annotations

from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.ros.messages import trajectory_message
from dreamzero_ros.ros.qos import COMMAND


class CommandBridge:
    """Sends each controller its share of a trajectory on `<controller>/joint_trajectory`.

    Args:
        node: Publishes; its namespace holds for the controllers.
        embodiment: Names the controllers.

    Raises:
        ValueError: A controller is of a type that takes no trajectories on a topic.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        others = [c.name for c in embodiment.controllers if c.type != "joint_trajectory"]
        if others:
            raise ValueError(
                f"robot {embodiment.name!r}: controllers {', '.join(others)} are not of type "
                "joint_trajectory, the only one that can be commanded: drive these joints by a "
                "joint_trajectory_controller"
            )
        self._node = node
        self._publishers = {
            controller.joints: node.create_publisher(
                JointTrajectory, f"{controller.name}/joint_trajectory", COMMAND
            )
            for controller in embodiment.controllers
        }

    def send(self, trajectory: Trajectory) -> None:
        """Publishes the trajectory, split by controller."""
        for joints, publisher in self._publishers.items():
            publisher.publish(trajectory_message(trajectory, joints))

    def close(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
