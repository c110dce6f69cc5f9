# SPDX-License-Identifier: Apache-2.0
"""Where joints were measured, over the last seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class History:
    """Positions by time; what is older than `span_ns` before the newest is forgotten.

    Args:
        joints: J, the number of joints.
        span_ns: How long positions are kept [ns].
        gap_ns: Between measurements further apart nothing is interpolated [ns].
    """

    def __init__(self, joints: int, span_ns: int, gap_ns: int) -> None:
        self._joints = joints
        self._span_ns = span_ns
        self._gap_ns = gap_ns
        self._times: list[int] = []
        self._positions: list[Floats] = []

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest measurement [ns]; None before the first."""
        return self._times[-1] if self._times else None

    def add(self, at_ns: int, positions: Floats) -> None:
        """Takes (J,) positions [rad or m]; a time that is no later than the newest begins a new history."""
        if self._times and at_ns <= self._times[-1]:
            self._times.clear()
            self._positions.clear()
        self._times.append(at_ns)
        self._positions.append(positions)
        if self._times[0] < at_ns - 2 * self._span_ns:
            expired = sum(time < at_ns - self._span_ns for time in self._times)
            del self._times[:expired], self._positions[:expired]

    def at(self, times_ns: Ints) -> Floats:
        """Positions (M, J) at (M,) times [ns], interpolated; NaN where nothing was measured around them."""
        if not self._times:
            return np.full((len(times_ns), self._joints), np.nan)
        times, positions = np.array(self._times, np.int64), np.stack(self._positions)
        after = np.searchsorted(times, times_ns)
        exact = times[np.minimum(after, len(times) - 1)] == times_ns
        right = np.minimum(after, len(times) - 1)
        left = np.where(exact, right, np.maximum(after - 1, 0))
        known = exact | ((after > 0) & (after < len(times)) & (times[right] - times[left] <= self._gap_ns))
        width = np.maximum(times[right] - times[left], 1)
        share = ((times_ns - times[left]) / width)[:, None]
        found = positions[left] + share * (positions[right] - positions[left])
        return np.where(known[:, None], found, np.nan)
