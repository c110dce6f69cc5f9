# SPDX-License-Identifier: Apache-2.0
"""Chunks and limits to plan with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.settings import Settings
from dreamzero_ros.motion.trajectory import Floats

NS = 1_000_000_000
STAMP_NS = 1_700_000_000 * NS
ANYWHERE = Settings(start_tolerance=np.inf)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A chunk of targets (A, J)."""

    targets: Floats
    stamp_ns: int = STAMP_NS
    dt_s: float = 1 / 15

    @property
    def joints(self) -> tuple[str, ...]:
        return tuple(f"joint{j}" for j in range(self.targets.shape[1]))


def some_limits(joints: int, reach: float = 3.0, velocity: float = 2.0, acceleration: float = 10.0) -> Limits:
    return Limits(
        np.full(joints, -reach),
        np.full(joints, reach),
        np.full(joints, velocity),
        np.full(joints, acceleration),
    )


def smooth_motion(t_s: Floats, joints: int = 3) -> Floats:
    """0.4 Hz at 0.5 rad: up to 1.3 rad/s and 3.2 rad/s^2."""
    return 0.5 * np.sin(2 * np.pi * 0.4 * t_s[..., None] + np.arange(joints))


def smooth_chunk(stamp_s: float, horizon: int = 24, joints: int = 3, dt_s: float = 1 / 15) -> Chunk:
    due_s = stamp_s + dt_s * np.arange(1, horizon + 1)
    return Chunk(smooth_motion(due_s, joints), round(stamp_s * NS), dt_s)
