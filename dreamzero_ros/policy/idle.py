# SPDX-License-Identifier: Apache-2.0
"""For how long the arm has not moved: the model does not say when a task is done."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NS_PER_S = 1_000_000_000


class IdleMonitor:
    """Measures how long every joint has stayed near one place."""

    def __init__(self) -> None:
        self._since_ns = 0
        self._place: NDArray[np.float64] | None = None

    def clear(self) -> None:
        """Begins anew with the next measurement."""
        self._place = None

    def idle_s(self, stamp_ns: int, measured: NDArray[np.float64], motion: float) -> float:
        """Time since a joint was last further than `motion` from where it then was [s].

        Args:
            stamp_ns: Time of the measurement [ns, ROS clock].
            measured: (J,) positions [rad or m].
            motion: What counts as motion [rad or m].
        """
        if self._place is None or np.abs(measured - self._place).max() > motion:
            self._place, self._since_ns = measured, stamp_ns
        return (stamp_ns - self._since_ns) / NS_PER_S
