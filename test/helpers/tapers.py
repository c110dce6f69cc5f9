# SPDX-License-Identifier: Apache-2.0
"""The Franka Research 3 as an example of joints that must be slow near the ends of their ranges."""

from __future__ import annotations

import numpy as np

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.motion.limits import Limits, Taper
from dreamzero_ros.motion.trajectory import Trajectory

TOLERANCE = 1e-6
"""Rounding, in positions [rad] and velocities [rad/s]."""


def fr3_limits(joints: int = 7) -> Limits:
    """Limits of the seven arm joints from the robot file, again and again where there are more joints."""
    robot = load("droid_franka", {"arm": "fr3"})
    arm = [robot.limits[joint] for joint in robot.command_joints if "finger" not in joint]
    rows = [arm[joint % len(arm)] for joint in range(joints)]
    tapers = [row.velocity_taper for row in rows]
    return Limits(
        *(
            np.array([getattr(row, key) for row in rows])
            for key in ("lower", "upper", "velocity", "acceleration")
        ),
        Taper(
            *(np.array([getattr(row, key) for row in tapers]) for key in ("offset", "gain", "lower", "upper"))
        ),
    )


def no_taper(joints: int) -> Taper:
    """Of joints that have none."""
    infinite = np.full(joints, np.inf)
    return Taper(np.zeros(joints), infinite, -infinite, infinite)


def too_fast(trajectory: Trajectory, taper: Taper, from_ns: int | None = None) -> np.ndarray:
    """(M, J) whether joints are faster than the taper at 2 000 times, by the formula itself."""
    begin = trajectory.start_ns if from_ns is None else from_ns
    t_ns = np.linspace(0, trajectory.end_ns - begin, 2000).astype(np.int64) + begin
    q, v = trajectory.sample(t_ns)
    up = -taper.offset + np.sqrt(taper.gain * np.maximum(taper.upper - q + TOLERANCE, 0))
    down = -taper.offset + np.sqrt(taper.gain * np.maximum(q + TOLERANCE - taper.lower, 0))
    return (v > np.maximum(up, 0) + TOLERANCE) | (-v > np.maximum(down, 0) + TOLERANCE)
