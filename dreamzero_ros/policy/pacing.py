# SPDX-License-Identifier: Apache-2.0
"""When to look next: the interval between two observations, from the latency that was measured."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

NS_PER_S = 1_000_000_000

REMEMBERED = 32
"""Latencies that the bound is taken from; older ones are forgotten, one slow call does not stay."""


class Pacing:
    """Chooses S, the control steps from one capture to the next, so that chunks arrive in time.

    A chunk captured at t covers `horizon` control steps; the next one is captured at t + S dt and commands
    the arm a latency L later. It comes in time when S dt + L <= horizon dt.

    Args:
        horizon: Targets of a chunk [control steps].
        execute_steps: S is never larger than this [control steps].
    """

    def __init__(self, horizon: int, execute_steps: int) -> None:
        self._horizon = horizon
        self._execute_steps = execute_steps
        self._latencies: deque[float] = deque(maxlen=REMEMBERED)

    def adjust(self, step_s: float, quantile: float, margin_steps: int) -> None:
        """How it chooses from now on; to be called before anything else.

        Args:
            step_s: Time in which the arm executes one control step, longer where it is slowed down [s].
            quantile: Share of the measured latencies that the bound covers, 0 to 1.
            margin_steps: Kept free beyond the bound [control steps].
        """
        self._step_s = step_s
        self._quantile = quantile
        self._margin_steps = margin_steps

    def record(self, latency_s: float) -> None:
        """Takes note of one latency, from capture to command [s]; calls that warm up do not count."""
        self._latencies.append(latency_s)

    @property
    def bound_s(self) -> float:
        """Latency to count on [s]; 0 before the first measurement."""
        if not self._latencies:
            return 0.0
        return float(np.quantile(self._latencies, self._quantile, method="higher"))

    @property
    def steps(self) -> int:
        """S [control steps], at least 1.

        It is 1 where the latency leaves no room: then chunks are late, and are reported as such.
        """
        needed = math.ceil(self.bound_s / self._step_s - 1e-9) + self._margin_steps
        return max(1, min(self._execute_steps, self._horizon - needed))

    @property
    def interval_ns(self) -> int:
        """From one capture to the next [ns]."""
        return round(self.steps * self._step_s * NS_PER_S)
