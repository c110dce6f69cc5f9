# SPDX-License-Identifier: Apache-2.0
"""How a run is paced, watched and executed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.plan import Settings as MotionSettings

Mode = Literal["asynchronous", "blocking"]


@dataclass(frozen=True)
class RolloutSettings:
    """The settings of a run; all but `mode` and `dry_run` may change while it lasts."""

    mode: Mode = "asynchronous"
    """``asynchronous`` asks for the next chunk while the current one is executed; ``blocking`` executes
    `execute_steps` targets, comes to rest, looks and waits, as the reference client does."""
    dry_run: bool = False
    """Nobody executes the trajectories: every one begins at the measured joints."""
    latency_quantile: float = 0.9
    """Share of the measured latencies that pacing covers."""
    margin_steps: int = 2
    """Control steps that pacing keeps free beyond it."""
    look_ahead: bool = True
    """The policy is shown the first images of the next call before it is due."""
    max_observation_age_s: float = 0.3
    """The arm is stopped when a stream is older [s]."""
    tracking_tolerance: float | NDArray[np.float64] = np.inf
    """Distance from its command at which a joint stops the arm, a number or (J,) [rad or m]."""
    tracking_time_s: float = 0.25
    """How long a joint must be that far away [s]."""
    idle_motion: float = 0.01
    """An arm of which no joint moves further counts as idle [rad or m]."""
    approach_share: float = 0.1
    """Share of the velocity and acceleration limits on the way to the start pose, in (0, 1]."""
    motion: MotionSettings = MotionSettings()
    """How a chunk becomes a trajectory."""
