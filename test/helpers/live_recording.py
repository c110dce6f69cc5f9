# SPDX-License-Identifier: Apache-2.0
"""Records topics of a running graph into a bag, as they were serialised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros_graph import Graph
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)


class LiveRecording(Node):
    """Writes what arrives while the executor of its graph spins, logged with its arrival; a context manager.

    Args:
        graph: Whose topics.
        folder: The bag.
        topics: By full name: class of the message, and quality of service.
    """

    def __init__(self, graph: Graph, folder: Path, topics: Mapping[str, tuple[type, QoSProfile]]) -> None:
        super().__init__("live_recording", context=graph.context)
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._topics = topics
        self._graph = graph

    def __enter__(self) -> LiveRecording:
        self._writer.open()
        for topic, (kind, profile) in self._topics.items():
            package, name = kind.__module__.split(".")[0], kind.__name__
            written = self._writer.add_connection(topic, f"{package}/msg/{name}", typestore=STORE)

            def take(data: bytes, written: Any = written) -> None:
                self._writer.write(written, self.get_clock().now().nanoseconds, data)

            self.create_subscription(kind, topic, take, profile, raw=True)
        self._graph.executor.add_node(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._graph.executor.remove_node(self)
        self.destroy_node()
        self._writer.close()
