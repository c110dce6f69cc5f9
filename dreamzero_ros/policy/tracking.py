# SPDX-License-Identifier: Apache-2.0
"""Whether the arm is where it was told to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.trajectory import Trajectory

NS_PER_S = 1_000_000_000


class TrackingMonitor:
    """Notices joints that stay away from their commanded positions.

    Args:
        tolerance: (J,) distance that counts as away [rad or m]; infinite exempts a joint, such as a gripper
            that closes on an object.
        time_s: How long a joint must be away [s]; a lag of the controller passes in less. Counts from the
            first measurement that shows it: until then it may have been near.
    """

    def __init__(self, tolerance: NDArray[np.float64], time_s: float) -> None:
        self._tolerance = tolerance
        self._time_ns = round(time_s * NS_PER_S)
        self.clear()

    def clear(self) -> None:
        """Forgets what was seen."""
        self._since_ns = np.full(len(self._tolerance), -1, dtype=np.int64)

    def away(self, commanded: Trajectory, stamp_ns: int, measured: NDArray[np.float64]) -> str:
        """Which joint is away, in words; empty when none is.

        Args:
            commanded: What the arm executes.
            stamp_ns: Time of the measurement [ns, ROS clock].
            measured: (J,) positions in the order of the trajectory's joints [rad or m].
        """
        error = np.abs(commanded.sample(stamp_ns)[0] - measured)
        began_ns = np.where(self._since_ns < 0, stamp_ns, self._since_ns)
        self._since_ns = np.where(error <= self._tolerance, -1, began_ns)
        late = (self._since_ns >= 0) & (stamp_ns - began_ns > self._time_ns)
        if not late.any():
            return ""
        joint = int(np.argmax(np.where(late, error - self._tolerance, -np.inf)))
        return (
            f"{commanded.joints[joint]} is {error[joint]:.3f} away from its command for more than "
            f"{self._time_ns / NS_PER_S:.2f} s, {self._tolerance[joint]:.3f} allowed: is its controller "
            "active, is the arm blocked?"
        )
