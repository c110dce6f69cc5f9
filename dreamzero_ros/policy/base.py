# SPDX-License-Identifier: Apache-2.0
"""The policy boundary: `reset()` and `infer(frame) -> ActionChunk`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk, Frame

Images = Mapping[str, NDArray[np.uint8]]
"""By camera name: (T, H, W, 3) RGB, oldest first."""


@dataclass(frozen=True)
class Foresight:
    """What a policy can do of a call that continues a session, before it is asked."""

    images: int
    """It looks at the first so many images of each camera."""
    takes_s: float
    """How long that takes [s]."""


class Policy(ABC):
    """Answers observations with action chunks; one session at a time."""

    name: str
    """What runs, for people: policy, variant, whether the weights are trained."""

    doubts: tuple[str, ...] = ()
    """What speaks against running it on this robot, in words; for people to look at first."""

    uses_history: bool
    """True when calls after the first of a session need one image per image offset instead of one."""

    foresight: Foresight | None = None
    """What can be done of a call before it is due; None: nothing."""

    @abstractmethod
    def reset(self) -> None:
        """Starts a new session: the next frame has one image per camera."""

    @abstractmethod
    def infer(self, frame: Frame) -> ActionChunk:
        """The chunk that answers the frame.

        Raises:
            ValueError: The frame does not fit the policy; says how.
        """

    def look_ahead(self, images: Images) -> None:  # noqa: B027 - most policies have nothing to do ahead
        """The images with which the next call will begin, most likely, so many as `foresight` says.

        The answer of `infer` does not depend on it, only how soon it is there.
        """

    def imagined(self) -> NDArray[np.uint8] | None:
        """(T, H, W, 3) RGB: the time of the last chunk as dreamed; None where nothing is dreamed.

        The images are equally spaced, the last belongs to the last target.
        """
        return None

    def interrupt(self) -> None:  # noqa: B027 - most policies answer soon enough
        """The answer under way is no longer wanted: `infer` should end soon. Called from another thread."""

    def close(self) -> None:  # noqa: B027 - most policies hold nothing
        """Frees what the policy holds."""
