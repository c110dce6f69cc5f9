# SPDX-License-Identifier: Apache-2.0
"""A second node with an executor and a thread of its own, beside the main node of a process."""

from __future__ import annotations

import threading

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


class SideNode(Node):
    """Keeps slow callbacks, such as those of cameras, off the thread of the main node.

    Args:
        owner: The main node; name, namespace and context are derived from it.
        suffix: Added to the owner's name.
    """

    def __init__(self, owner: Node, suffix: str) -> None:
        super().__init__(
            f"{owner.get_name()}_{suffix}",
            namespace=owner.get_namespace(),
            context=owner.context,
            use_global_arguments=False,  # a remapped node name would hit this node too
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._owner = owner
        self._spinner = SingleThreadedExecutor(context=owner.context)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=suffix, daemon=True)

    def topic(self, name: str) -> str:
        """The full name of a topic, with the owner's namespace and remappings."""
        return self._owner.resolve_topic_name(name)

    def start(self) -> None:
        """Begins to spin."""
        self._spinner.add_node(self)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and the node."""
        self._closing.set()
        self._thread.join()
        self._spinner.shutdown()
        self.destroy_node()

    def _spin(self) -> None:
        while rclpy.ok(context=self.context) and not self._closing.is_set():
            try:
                self._spinner.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                return
            except Exception as error:  # the next message may be better
                self.get_logger().error(f"a callback failed: {error}", throttle_duration_sec=1.0)
