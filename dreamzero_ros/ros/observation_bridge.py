# SPDX-License-Identifier: Apache-2.0
"""Camera and joint-state topics -> the observation buffer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from dreamzero_ros.embodiment.schema import Camera, Embodiment
from dreamzero_ros.observation.buffer import JOINT_STATES, ObservationBuffer
from dreamzero_ros.observation.decode import Converter, stamp_ns
from dreamzero_ros.observation.encodings import READ
from dreamzero_ros.observation.intake import Intake, Notes, read_view
from dreamzero_ros.ros.qos import SENSOR
from dreamzero_ros.ros.side_node import SideNode


class JointStateIntake:
    """Feeds joint states to the buffer; runs on the node that it is given.

    Args:
        node: Its namespace and its remappings hold for the topic.
        buffer: Filled.
        notes: Filled with what is wrong.
    """

    def __init__(self, node: Node, buffer: ObservationBuffer, notes: Notes) -> None:
        self._node = node
        self.intake = Intake(buffer, notes)
        """Judges and counts the joint states."""
        self._said: set[str] = set()
        self._subscription = node.create_subscription(JointState, "joint_states", self._take, SENSOR)

    def close(self) -> None:
        """Ends the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _take(self, message: JointState) -> None:
        topic = self._subscription.topic_name
        self.intake.joint_state(message, topic)
        for kind, found in self.intake.judgements[JOINT_STATES].remarks.items():
            if kind not in self._said:
                self._said.add(kind)
                self._node.get_logger().warning(f"{topic}: {kind}: {found.got}; {found.fix}")


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
        self.intake = Intake(buffer, notes)
        """Judges and counts the images."""
        self._on_image = on_image
        self._log = owner.get_logger()
        self._converter = _cv_bridge(self._log.warning)
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
        view = self.intake.image(
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


def _cv_bridge(warn: Callable[[str], object]) -> Converter | None:
    """Converts further encodings where cv_bridge is installed; warns of one that cannot be imported."""
    try:
        from cv_bridge import CvBridge
    except Exception as error:  # compiled against another NumPy it raises AttributeError or ImportError
        if not isinstance(error, ModuleNotFoundError) or error.name != "cv_bridge":
            warn(
                f"cv_bridge is installed and cannot be imported ({type(error).__name__}: {error}): "
                f"images are read without it, in the encodings {READ}"
            )
        return None
    return CvBridge().imgmsg_to_cv2
