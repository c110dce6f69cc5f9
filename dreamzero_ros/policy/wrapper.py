# SPDX-License-Identifier: Apache-2.0
"""A policy around another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.policy.base import Images, Policy


class PolicyWrapper(Policy):
    """Is as another policy in everything that is not overridden.

    Args:
        policy: That other one.
        note: Added to its name, for people.
    """

    def __init__(self, policy: Policy, note: str) -> None:
        self.name = f"{policy.name}, {note}"
        self.doubts = policy.doubts
        self.uses_history = policy.uses_history
        self.foresight = policy.foresight
        self._policy = policy

    def reset(self) -> None:
        """As the policy."""
        self._policy.reset()

    def infer(self, frame: Frame) -> ActionChunk:
        """As the policy."""
        return self._policy.infer(frame)

    def look_ahead(self, images: Images) -> None:
        """As the policy."""
        self._policy.look_ahead(images)

    def imagined(self) -> NDArray[np.uint8] | None:
        """As the policy."""
        return self._policy.imagined()

    def interrupt(self) -> None:
        """As the policy."""
        self._policy.interrupt()

    def close(self) -> None:
        """As the policy."""
        self._policy.close()
