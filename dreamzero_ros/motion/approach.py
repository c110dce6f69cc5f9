# SPDX-License-Identifier: Apache-2.0
"""A gentle way from one resting pose to another, straight in joint space."""

from __future__ import annotations

import numpy as np

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.trajectory import HOLD_S, Floats, Trajectory

GRID_S = 0.05
"""Distance of the points, at most [s]."""
PEAK_SPEED, PEAK_ACCELERATION = 2.0, 8.0
"""Of the motion from 0 to 1 in one second whose acceleration is a triangle up and a triangle down."""
LEAST_SPEED = 0.01
"""Share of its velocity limit that a taper must leave a joint at the goal: with less it would creep there."""


def approach(
    joints: tuple[str, ...], positions: Floats, goal: Floats, now_ns: int, limits: Limits, share: float
) -> Trajectory:
    """Moves all joints at the same time, from rest to rest.

    The acceleration of each is a triangle up in the first half and a triangle down in the second, so the
    cubics between the points are exactly this motion. No joint is ever faster than its taper allows at the
    goal.

    Args:
        joints: Names of the J joints.
        positions: (J,) where they rest now [rad or m].
        goal: (J,) where they are to be [rad or m].
        now_ns: Time now [ns, ROS clock].
        limits: Of the joints.
        share: Of the velocity and acceleration limits that the slowest joint uses, in (0, 1].

    Raises:
        MotionError: A position is not finite, the goal lies outside the limits or where a taper leaves it no
            speed, or the share is out of its range.
    """
    if not 0 < share <= 1:
        raise MotionError(f"approach: the share of the limits must be in (0, 1], got {share}")
    for name, row in (("measured", positions), ("goal", goal)):
        for joint in np.flatnonzero(~np.isfinite(row)):
            raise MotionError(f"approach: {name} position of {joints[joint]} is {row[joint]}")
    for joint in np.flatnonzero((goal < limits.lower) | (goal > limits.upper)):
        raise MotionError(
            f"approach: {joints[joint]} is to be at {goal[joint]:.3f}, its limits are "
            f"{limits.lower[joint]:.3f} to {limits.upper[joint]:.3f}"
        )
    way = goal - positions
    fastest = _fastest(joints, way, goal, limits)
    at_speed = PEAK_SPEED * np.abs(way) / (share * fastest)
    at_acceleration = np.sqrt(PEAK_ACCELERATION * np.abs(way) / (share * limits.acceleration))
    length_s = max(float(np.maximum(at_speed, at_acceleration).max()), HOLD_S)

    u = np.linspace(0.0, 1.0, 4 * int(np.ceil(length_s / 4 / GRID_S)) + 1)
    moved, speed = _triangles(u)
    return Trajectory(
        start_ns=now_ns,
        joints=joints,
        times_s=np.round(u * length_s, 9),
        positions=positions + moved[:, None] * way,
        velocities=speed[:, None] * way / length_s,
    )


def _fastest(joints: tuple[str, ...], way: Floats, goal: Floats, limits: Limits) -> Floats:
    """Speeds (J,) that the limits allow from here to the goal: a taper leaves least where the way ends."""
    if limits.taper is None:
        return limits.velocity
    down, up = limits.taper.fastest(goal)
    fastest = np.minimum(limits.velocity, np.where(way > 0, up, down))
    for joint in np.flatnonzero((way != 0) & (fastest < LEAST_SPEED * limits.velocity)):
        raise MotionError(
            f"approach: {joints[joint]} is to be at {goal[joint]:.3f}, where it may move with no more than "
            f"{fastest[joint]:.4f}; it can move between {limits.taper.first[joint]:.3f} and "
            f"{limits.taper.last[joint]:.3f}"
        )
    return np.where(way != 0, fastest, limits.velocity)


def _triangles(u: Floats) -> tuple[Floats, Floats]:
    """Positions and velocities (M,) from 0 to 1 at times u from 0 to 1; a cubic in each quarter."""
    edge = np.minimum(u, 1.0 - u)
    past = u - 0.5
    outer = 16.0 / 3.0 * edge**3
    inner = 0.5 + 2.0 * past - 16.0 / 3.0 * past**3
    moved = np.where(edge >= 0.25, inner, np.where(past < 0, outer, 1.0 - outer))
    return moved, np.where(edge >= 0.25, 2.0 - 16.0 * past**2, 16.0 * edge**2)
