# SPDX-License-Identifier: Apache-2.0
"""A gentle way from one resting pose to another, straight in joint space."""

from __future__ import annotations

import numpy as np

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.trajectory import HOLD_S, Floats, Trajectory

GRID_S = 0.05
"""Distance of the points, at most [s]."""
PEAK_SPEED, PEAK_ACCELERATION = 1.875, 10 / np.sqrt(3)
"""Of the quintic 10 u^3 - 15 u^4 + 6 u^5 between 0 and 1."""


def approach(
    joints: tuple[str, ...], positions: Floats, goal: Floats, now_ns: int, limits: Limits, share: float
) -> Trajectory:
    """Moves all joints at the same time, from rest to rest.

    Args:
        joints: Names of the J joints.
        positions: (J,) where they rest now [rad or m].
        goal: (J,) where they are to be [rad or m].
        now_ns: Time now [ns, ROS clock].
        limits: Of the joints.
        share: Of the velocity and acceleration limits that the fastest joint uses, in (0, 1].

    Raises:
        MotionError: A position is not finite, or the goal lies outside the position limits.
    """
    for name, row in (("measured", positions), ("goal", goal)):
        for joint in np.flatnonzero(~np.isfinite(row)):
            raise MotionError(f"approach: {name} position of {joints[joint]} is {row[joint]}")
    for joint in np.flatnonzero((goal < limits.lower) | (goal > limits.upper)):
        raise MotionError(
            f"approach: {joints[joint]} is to be at {goal[joint]:.3f}, its limits are "
            f"{limits.lower[joint]:.3f} to {limits.upper[joint]:.3f}"
        )
    way = goal - positions
    at_speed = PEAK_SPEED * np.abs(way) / (share * limits.velocity)
    at_acceleration = np.sqrt(PEAK_ACCELERATION * np.abs(way) / (share * limits.acceleration))
    length_s = max(float(np.maximum(at_speed, at_acceleration).max()), HOLD_S)
    u = np.linspace(0.0, 1.0, int(np.ceil(length_s / GRID_S)) + 1)[:, None]
    moved = u**3 * (10 - 15 * u + 6 * u**2)
    speed = 30 * u**2 * (1 - u) ** 2 / length_s
    times_s = np.round(u[:, 0] * length_s, 9)
    return Trajectory(now_ns, joints, times_s, positions + moved * way, speed * way)
