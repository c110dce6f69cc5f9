# SPDX-License-Identifier: Apache-2.0
"""How a chunk becomes a trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.trajectory import Floats

OnRate = Literal["clamp", "slow_down", "refuse"]
"""What becomes of a chunk that is too fast or too sudden. ``clamp``: each joint follows as well as it may.
``slow_down``: all of it takes longer, by one factor, and keeps its shape. ``refuse``: an error that names the
hits. Hits are reported whatever becomes of it."""


@dataclass(frozen=True)
class Settings:
    """How a chunk becomes a trajectory; the defaults suit arms at 15 to 30 Hz.

    Raises:
        MotionError: for a setting out of its range.
    """

    lead_s: float = 0.05
    """Least time from now to the splice, for the message to travel [s]; in `plan` at least a control step."""
    grid_s: float = 0.02
    """Distance of the published points after the splice [s]."""
    blend_s: float = 0.2
    """Time over which the executed motion fades into the chunk [s]."""
    soft_share: float = 0.5
    """Share of the acceleration limit for catching up with the chunk and for stopping, in (0, 1]."""
    start_tolerance: float | Floats = 0.5
    """Largest distance of the first used target from the measured joints, a number or (J,) [rad or m];
    infinite where a joint may jump, such as a gripper."""
    smooth: bool = True
    """Whether the targets are smoothed as published for this model."""
    grippers: NDArray[np.bool_] | None = None
    """(J,) joints that open and close, None: no joint. They jump by nature: they are debounced, not smoothed,
    and clamped whatever becomes of the others."""
    debounce_steps: int = 2
    """A gripper that would change and change back within so many control steps stays."""
    speed_scale: float = 1.0
    """Speed at which the chunk is executed, in (0, 1]; 1 is that of the policy."""
    on_position: Literal["clamp", "refuse"] = "clamp"
    """What becomes of a chunk that leaves the position limits."""
    on_velocity: OnRate = "clamp"
    """What becomes of a chunk that is too fast."""
    on_acceleration: OnRate = "clamp"
    """What becomes of a chunk that is too sudden."""

    def __post_init__(self) -> None:
        for name in ("lead_s", "grid_s", "blend_s", "soft_share", "speed_scale"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise MotionError(f"motion settings: {name} must be positive, got {value}")
        for name in ("soft_share", "speed_scale"):
            value = getattr(self, name)
            if value > 1:
                raise MotionError(f"motion settings: {name} must not exceed 1, got {value}")
        if self.debounce_steps < 0:
            raise MotionError(
                f"motion settings: debounce_steps must not be negative, got {self.debounce_steps}"
            )
        for name, choices in (
            ("on_position", ("clamp", "refuse")),
            ("on_velocity", get_args(OnRate)),
            ("on_acceleration", get_args(OnRate)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise MotionError(f"motion settings: {name} must be one of {choices}, got {value!r}")
