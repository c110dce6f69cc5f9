# SPDX-License-Identifier: Apache-2.0
"""Messages of cameras and joints -> the buffer, live and from recordings alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Camera
from dreamzero_ros.observation.buffer import JOINT_STATES, ObservationBuffer
from dreamzero_ros.observation.decode import Converter, ObservationError, decode_image, fit

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
    """Fills the buffer, and the notes with what cannot be used.

    Args:
        buffer: Filled.
        notes: Filled with what is wrong.
    """

    def __init__(self, buffer: ObservationBuffer, notes: Notes) -> None:
        self._buffer = buffer
        self._notes = notes

    def joint_state(self, stamp_ns: int, read: Callable[[], NDArray[np.float64]]) -> bool:
        """Takes a joint state; returns whether it can be used.

        Args:
            stamp_ns: Time of the measurement [ns].
            read: Gives the positions (J,) in the order of `Embodiment.state_joints`.
        """
        try:
            positions = read()
        except ObservationError as error:
            self._notes[JOINT_STATES] = str(error)
            return False
        self._buffer.add_joint_state(stamp_ns, positions)
        self._notes.pop(JOINT_STATES, None)
        return True

    def image(self, camera: Camera, stamp_ns: int, read: Callable[[], View]) -> View | None:
        """Takes an image; returns it, None where it cannot be used.

        Args:
            camera: Which.
            stamp_ns: Time of the capture [ns].
            read: Gives what it saw.
        """
        try:
            view = read()
        except ObservationError as error:
            self._notes[camera.name] = str(error)
            return None
        self._buffer.add_image(camera.name, stamp_ns, view.image)
        self._notes.pop(camera.name, None)
        return view
