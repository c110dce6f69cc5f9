# SPDX-License-Identifier: Apache-2.0
"""The robot description of the graph, whenever it comes."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo
from std_msgs.msg import String

from dreamzero_ros.ros import qos

TOPIC = "robot_description"


class RobotDescription:
    """Listens to ``robot_description``, latched as robot_state_publisher publishes it or volatile.

    Args:
        node: The node that listens.
        on_change: Called on the thread of the node with each text that differs from the one before.
        topic: Name of the topic; a relative one is in the namespace of the node.
    """

    def __init__(self, node: Node, on_change: Callable[[str], None], topic: str = TOPIC) -> None:
        self._node = node
        self._on_change = on_change
        self._topic = topic
        self.urdf: str | None = None
        """The newest text; None before the first."""
        # a volatile publisher suits the second only: a warning of the first would be wrong
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)
        self._subscriptions = [
            node.create_subscription(String, topic, self._take, profile, event_callbacks=callbacks)
            for profile, callbacks in ((qos.LATCHED, quiet), (qos.COMMAND, None))
        ]

    def publishers(self) -> list[TopicEndpointInfo]:
        """Who publishes the topic, as far as discovered."""
        return list(self._node.get_publishers_info_by_topic(self._topic))

    def close(self) -> None:
        """Stops to listen."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _take(self, message: String) -> None:
        if message.data != self.urdf:
            self.urdf = message.data
            self._on_change(message.data)
