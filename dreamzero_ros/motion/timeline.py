# SPDX-License-Identifier: Apache-2.0
"""When each target of a chunk is due, and which targets a splice comes too late for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.trajectory import NS_PER_S


def due_times_ns(stamp_ns: int, dt_s: float, horizon: int) -> NDArray[np.int64]:
    """Due times (A,) [ns]: target i at stamp + (i + 1) dt, each rounded once, so nothing drifts."""
    offsets: NDArray[np.int64] = np.rint(np.arange(1, horizon + 1) * dt_s * NS_PER_S).astype(np.int64)
    return offsets + stamp_ns


def count_due(due_ns: NDArray[np.int64], start_ns: int) -> int:
    """Number of leading targets that are due before `start_ns`: the ones to drop."""
    return int(np.searchsorted(due_ns, start_ns, side="left"))


def stretched(stamp_ns: int, dt_s: float, factor: float, about_ns: int) -> tuple[int, float]:
    """Stamp and control step of the same targets, due `factor` times as far from `about_ns`."""
    return about_ns - round(factor * (about_ns - stamp_ns)), factor * dt_s
