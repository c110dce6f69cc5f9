# SPDX-License-Identifier: Apache-2.0
"""What the joints may do, and the report of what a chunk wanted beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.trajectory import Floats

UNBOUNDED = 1e6
"""Position limit of a joint that has none [rad or m]."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits of J joints, in the order of the chunk's columns; each is (J,).

    Infinite positions mean a joint that turns without end.

    Raises:
        MotionError: for shapes that disagree, lower above upper, or velocities and accelerations that are not
            positive and finite.
    """

    lower: Floats
    """Smallest position [rad or m]."""
    upper: Floats
    """Largest position [rad or m]."""
    velocity: Floats
    """Largest speed [rad/s or m/s]."""
    acceleration: Floats
    """Largest absolute acceleration [rad/s^2 or m/s^2]."""

    def __post_init__(self) -> None:
        named = {name: getattr(self, name) for name in ("lower", "upper", "velocity", "acceleration")}
        shapes = {name: value.shape for name, value in named.items()}
        if len(set(shapes.values())) != 1 or self.lower.ndim != 1:
            raise MotionError(f"limits: expected four arrays of one shape (joints,), got {shapes}")
        if not (self.lower <= self.upper).all():
            raise MotionError(f"limits: lower must not exceed upper, got {self.lower} and {self.upper}")
        for name in ("velocity", "acceleration"):
            if not (np.isfinite(named[name]) & (named[name] > 0)).all():
                raise MotionError(f"limits: {name} must be positive and finite, got {named[name]}")

    @property
    def bounded_lower(self) -> Floats:
        """Lower limits with a finite number in place of minus infinity."""
        return np.maximum(self.lower, -UNBOUNDED)

    @property
    def bounded_upper(self) -> Floats:
        """Upper limits with a finite number in place of infinity."""
        return np.minimum(self.upper, UNBOUNDED)


@dataclass(frozen=True)
class LimitHit:
    """One limit of one joint that the wanted motion exceeded; what was published stays within it."""

    joint: str
    limit: str
    """"position", "velocity" or "acceleration"."""
    wanted: float
    """Worst value wanted, in the unit of the limit."""
    allowed: float
    """The limit itself."""

    def __str__(self) -> str:
        return f"{self.joint}: {self.limit} {self.wanted:.3f} wanted, {self.allowed:.3f} allowed"


def position_hits(joints: tuple[str, ...], targets: Floats, limits: Limits) -> list[LimitHit]:
    """Joints of which a target in (A, J) lies outside the position limits."""
    high, low = targets.max(axis=0), targets.min(axis=0)
    hits = []
    for j, joint in enumerate(joints):
        if high[j] > limits.upper[j]:
            hits.append(LimitHit(joint, "position", float(high[j]), float(limits.upper[j])))
        if low[j] < limits.lower[j]:
            hits.append(LimitHit(joint, "position", float(low[j]), float(limits.lower[j])))
    return hits


def rate_hits(joints: tuple[str, ...], velocities: Floats, step_s: float, limits: Limits) -> list[LimitHit]:
    """Joints of which the wanted velocities (N + 1, J), `step_s` apart, exceed a limit."""
    speed = np.abs(velocities).max(axis=0)
    acceleration = np.abs(np.diff(velocities, axis=0)).max(axis=0, initial=0.0) / step_s
    hits = [
        LimitHit(joints[j], "velocity", float(speed[j]), float(limits.velocity[j]))
        for j in np.flatnonzero(speed > limits.velocity)
    ]
    return hits + [
        LimitHit(joints[j], "acceleration", float(acceleration[j]), float(limits.acceleration[j]))
        for j in np.flatnonzero(acceleration > limits.acceleration)
    ]
