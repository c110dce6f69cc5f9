# SPDX-License-Identifier: Apache-2.0
"""The rules of the reference policy server: which images of a client the model sees, and what it answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

CAMERAS = {
    "observation/exterior_image_0_left": "exterior_image_1_left",
    "observation/exterior_image_1_left": "exterior_image_2_left",
    "observation/wrist_image_left": "wrist_image_left",
}
"""Key of an observation -> camera of the checkpoint; clients count exterior cameras from 0."""

FIRST_CALL, LATER_CALLS = 1, 4
"""Images per camera that the model sees in the first call of a session, and in later ones."""


class ImageHistory:
    """The images that a client has sent in one session; a new session takes a new object."""

    def __init__(self) -> None:
        self._newest = {camera: deque[NDArray[np.uint8]](maxlen=LATER_CALLS) for camera in CAMERAS.values()}
        self._wanted = FIRST_CALL

    def take(self, observation: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
        """Appends the images of one request and returns what the model sees.

        Args:
            observation: By key of `CAMERAS`: one image (H, W, 3) or several (T, H, W, 3).

        Returns:
            By camera (1 or 4, H, W, 3): the newest image in the first call, the newest four in later ones;
            where there are fewer, the oldest stands repeated in front, as in the reference server.

        Raises:
            ValueError: A camera is missing, or what it sent is not an image.
        """
        for key, camera in CAMERAS.items():
            if key not in observation:
                raise ValueError(f"observation: expected {key}, got {sorted(observation)}")
            images = np.asarray(observation[key])
            if images.ndim not in (3, 4) or images.shape[-1] != 3:
                raise ValueError(f"{key}: expected (H, W, 3) or (T, H, W, 3), got {images.shape}")
            self._newest[camera].extend(images if images.ndim == 4 else images[None])
        wanted, self._wanted = self._wanted, LATER_CALLS
        return {camera: _last(list(images), wanted) for camera, images in self._newest.items()}


def _last(images: list[NDArray[np.uint8]], count: int) -> NDArray[np.uint8]:
    missing = max(0, count - len(images))
    return np.stack([images[0]] * missing + images[-count:])


def pack_actions(
    joint_position: NDArray[np.float64], gripper_position: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Action fields -> the array that goes to the client.

    Args:
        joint_position: (N, 7) or (7,).
        gripper_position: (N, 1), (N,) or a single value.

    Returns:
        (N, 8) float32, the gripper last.
    """
    joints = np.atleast_2d(joint_position)
    gripper = np.reshape(gripper_position, (len(joints), 1))
    return np.concatenate([joints, gripper], axis=1).astype(np.float32)
