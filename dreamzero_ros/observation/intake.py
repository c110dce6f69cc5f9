# SPDX-License-Identifier: Apache-2.0
"""Messages of cameras and joints -> the buffer, live and from recordings alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Camera
from dreamzero_ros.observation.buffer import JOINT_STATES, ObservationBuffer
from dreamzero_ros.observation.decode import Converter, decode_image, fit, stamp_ns
from dreamzero_ros.observation.joint_states import JointStateReader
from dreamzero_ros.observation.judgement import Judgement, ObservationError

Notes = dict[str, str]
"""By stream: what is wrong with its messages, in words. An entry goes with the next good message."""


class View(NamedTuple):
    """What a camera saw."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB of the size that the camera has in the robot file."""
    size: tuple[int, int]
    """Width and height of the image as it came [pixels]."""

    def resizing(self, camera: Camera) -> str:
        """What was done to the image to bring it to its size, in words; empty for nothing."""
        wanted = camera.width, camera.height
        if self.size == wanted:
            return ""
        sizes = "{}x{} are brought to {}x{}".format(*self.size, *wanted)
        return f"images of {sizes} ({camera.fit})"


def read_view(message: Any, topic: str, camera: Camera, converter: Converter | None = None) -> View:
    """The image of a message, brought to the size of the camera; arguments as of `decode_image`.

    Raises:
        ObservationError: It cannot be decoded.
    """
    image = decode_image(message, topic, converter)
    height, width, _ = image.shape
    return View(fit(image, camera.width, camera.height, camera.fit), (width, height))


class Intake:
    """Judges messages, fills the buffer with those that can be used, and the notes with what is wrong.

    Args:
        buffer: Filled.
        notes: Filled with what is wrong.
    """

    def __init__(self, buffer: ObservationBuffer, notes: Notes) -> None:
        self._buffer = buffer
        self._notes = notes
        self._joints = JointStateReader(buffer.embodiment)
        self.judgements: dict[str, Judgement] = {
            **{camera.name: Judgement() for camera in buffer.embodiment.cameras},
            JOINT_STATES: self._joints.judgement,
        }
        """What was found in the messages of each stream."""
        self.sizes: dict[str, tuple[int, int]] = {}
        """Width and height of the last image of each camera, as it came [pixels]."""

    def joint_state(self, message: Any, topic: str) -> bool:
        """Takes a message shaped as sensor_msgs/JointState; returns whether it went into the buffer."""
        stamp = stamp_ns(message)
        try:
            reading = self._joints.read(message, stamp, topic)
        except ObservationError:
            reading = None
        if reading is not None:
            self._buffer.add_joint_state(stamp, reading.positions, reading.columns)
        if self._joints.complaint:
            self._notes[JOINT_STATES] = self._joints.complaint
        else:
            self._notes.pop(JOINT_STATES, None)
        return reading is not None

    def image(self, camera: Camera, stamp_ns: int, read: Callable[[], View]) -> View | None:
        """Takes an image; returns it, None where it cannot be used.

        Args:
            camera: Which.
            stamp_ns: Time of the capture [ns].
            read: Gives what it saw.
        """
        judgement = self.judgements[camera.name]
        judgement.received += 1
        try:
            view = read()
        except ObservationError as error:
            judgement.refuse(error)
            self._notes[camera.name] = str(error)
            return None
        self.sizes[camera.name] = view.size
        self._buffer.add_image(camera.name, stamp_ns, view.image)
        self._notes.pop(camera.name, None)
        return view
