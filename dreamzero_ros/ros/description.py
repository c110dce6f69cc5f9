# SPDX-License-Identifier: Apache-2.0
"""The robot description of the graph, whenever it comes."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import String

from dreamzero_ros.ros import qos

TOPIC = "robot_description"


class RobotDescription:
    """Listens to ``robot_description`` as robot_state_publisher publishes it.

    Args:
        node: The node that listens; the topic is relative to its namespace.
        on_change: Called on the thread of the node with each text that differs from the one before.
    """

    def __init__(self, node: Node, on_change: Callable[[str], None]) -> None:
        self._node = node
        self._on_change = on_change
        self.urdf: str | None = None
        """The newest text; None before the first."""
        self._subscription = node.create_subscription(String, TOPIC, self._take, qos.LATCHED)

    def close(self) -> None:
        """Stops to listen."""
        self._node.destroy_subscription(self._subscription)

    def _take(self, message: String) -> None:
        if message.data != self.urdf:
            self.urdf = message.data
            self._on_change(message.data)
