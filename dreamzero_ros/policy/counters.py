# SPDX-License-Identifier: Apache-2.0
"""What happened in a run so far, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from dreamzero_ros.motion.plan import Plan


@dataclass
class Counters:
    """Counts from the start of the run, and figures of its last chunk."""

    chunks: int = 0
    deadline_misses: int = 0
    limit_hits: int = 0
    targets_used: int = 0
    """Of the last chunk."""
    targets_dropped: int = 0
    """Of the last chunk."""
    largest_step: float = 0.0
    """Of the last trajectory [rad or m]."""
    time_scale: float = 1.0
    """By how much the last chunk was slowed down."""
    observation_age_s: float = float("nan")
    """Age of the newest image set when the last chunk became a command [s]."""
    capture_steps: int = 0
    """Control steps between the last two captures."""
    overlap_steps: int = 0
    """Control steps by which the image windows of the last two calls overlap."""

    def count(self, made: Plan, latency_s: float, late: bool) -> None:
        """Takes note of a chunk.

        Args:
            made: What became of it.
            latency_s: Capture to command [s].
            late: It came after the one before had run out.
        """
        self.deadline_misses += late
        self.chunks += 1
        self.limit_hits += len(made.limit_hits)
        self.targets_used, self.targets_dropped = made.used, made.dropped
        self.largest_step, self.time_scale = made.largest_step, made.time_scale
        self.observation_age_s = latency_s
