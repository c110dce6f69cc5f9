# SPDX-License-Identifier: Apache-2.0
"""Asks a recording what the player will ask it: whether there is a frame."""

from __future__ import annotations

from collections import Counter

import numpy as np

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.clock import LOG, NewestStamp
from dreamzero_ros.observation.buffer import JOINT_STATES, ObservationBuffer


class Frames:
    """Counts at how many images a frame could be made, by the buffer of the node and by stamps alone.

    Args:
        embodiment: The robot.
        max_age_s: Oldest that observations may be [s].
        clock: `LOG` or `STAMPS`: on which it is asked.
    """

    def __init__(self, embodiment: Embodiment, max_age_s: float, clock: str) -> None:
        self._buffer = ObservationBuffer(embodiment, max_age_s)
        self._blank = {
            camera.name: np.zeros((camera.height, camera.width, 3), np.uint8) for camera in embodiment.cameras
        }
        self._still = np.zeros(len(embodiment.state_joints))
        self._newest = NewestStamp() if clock != LOG else None
        self.asked = 0
        """Images."""
        self.possible = 0
        """Those of them at which there is a frame of one image per camera."""
        self._missing: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    def add(self, stream: str, stamp_ns: int, log_ns: int) -> None:
        """Takes the next message of a camera or of the joint states."""
        now_ns = log_ns if self._newest is None else self._newest.take(stamp_ns)
        if stream == JOINT_STATES:
            self._buffer.add_joint_state(stamp_ns, self._still)
            return
        self._buffer.add_image(stream, stamp_ns, self._blank[stream])
        missing = self._buffer.missing(1, now_ns)
        self.asked += 1
        self.possible += missing is None
        if missing is not None:
            self._missing[missing.stream] += 1
            self._reasons[missing.stream] = missing.reason

    @property
    def reason(self) -> str:
        """Why there was no frame, most of the time, in words; empty where there always was one."""
        return self._reasons[self._missing.most_common(1)[0][0]] if self._missing else ""
