# SPDX-License-Identifier: Apache-2.0
"""Camera and joint-state topics -> the observation buffer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from dreamzero_ros.embodiment.schema import Camera, Embodiment
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.observation.decode import Converter, joint_positions, stamp_ns
from dreamzero_ros.observation.intake import Intake, Notes, read_view
from dreamzero_ros.ros.qos import SENSOR
from dreamzero_ros.ros.side_node import SideNode


class JointStateIntake:
    """Feeds joint states to the buffer; runs on the node that it is given."""

    def __init__(self, node: Node, embodiment: Embodiment, buffer: ObservationBuffer, notes: Notes) -> None:
        self._node = node
        self._embodiment = embodiment
        self._intake = Intake(buffer, notes)
        self._subscription = node.create_subscription(JointState, "joint_states", self._take, SENSOR)

    def close(self) -> None:
        """Ends the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _take(self, message: JointState) -> None:
        joints, topic = self._embodiment.state_joints, self._subscription.topic_name
        self._intake.joint_state(stamp_ns(message), lambda: joint_positions(message, joints, topic))


class CameraIntake:
    """Feeds camera images to the buffer, on a node and a thread of its own.

    Decoding takes milliseconds: on the thread of the control node it would delay joint states and commands.

    Args:
        owner: Its namespace and its remappings hold for the camera topics.
        embodiment: Names the cameras and their topics.
        buffer: Filled with decoded images of the cameras' sizes.
        notes: Filled with what is wrong.
        on_image: Called from the camera thread after every image.
    """

    def __init__(
        self,
        owner: Node,
        embodiment: Embodiment,
        buffer: ObservationBuffer,
        notes: Notes,
        on_image: Callable[[], None],
    ) -> None:
        self._intake = Intake(buffer, notes)
        self._on_image = on_image
        self._converter = _cv_bridge()
        self._log = owner.get_logger()
        self._resized: set[str] = set()
        self._node = SideNode(owner, "cameras")
        for camera in embodiment.cameras:
            topic = self._node.topic(camera.topic)
            kind = CompressedImage if camera.compressed else Image
            self._node.create_subscription(kind, topic, partial(self._take, camera, topic), SENSOR)
        self._node.start()

    def close(self) -> None:
        """Ends thread and subscriptions."""
        self._node.close()

    def _take(self, camera: Camera, topic: str, message: Any) -> None:
        view = self._intake.image(
            camera, stamp_ns(message), lambda: read_view(message, topic, camera, self._converter)
        )
        if view is None:
            return
        self._state_resize(camera, topic, view.resizing(camera))
        self._on_image()

    def _state_resize(self, camera: Camera, topic: str, words: str) -> None:
        if words and camera.name not in self._resized:
            self._resized.add(camera.name)
            self._log.info(f"{topic}: {words}")


def _cv_bridge() -> Converter | None:
    """Converts further encodings where cv_bridge is installed."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    return CvBridge().imgmsg_to_cv2
