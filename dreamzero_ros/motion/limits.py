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
class Taper:
    """How the velocity limits of J joints shrink towards the ends of their ranges; each is (J,).

    Moving up, a joint at q may be as fast as max(0, -offset + sqrt(gain (upper - q))); moving down, as fast as
    max(0, -offset + sqrt(gain (q - lower))). For a joint without taper the offset is 0, all others are infinite.
    Source: libfranka, ``computeUpperLimitsJointVelocity`` and ``computeLowerLimitsJointVelocity``.

    Raises:
        MotionError: for shapes that disagree, or values out of their range.
    """

    offset: Floats
    """Subtracted from the root [rad/s], not negative."""
    gain: Floats
    """Twice the deceleration that is left for stopping [rad/s^2], positive."""
    lower: Floats
    """Position at which the lower root is zero [rad]."""
    upper: Floats
    """Position at which the upper root is zero [rad]."""

    def __post_init__(self) -> None:
        shapes = _shapes(self, ("offset", "gain", "lower", "upper"))
        if len(set(shapes.values())) != 1 or self.offset.ndim != 1:
            raise MotionError(f"taper: expected four arrays of one shape (joints,), got {shapes}")
        if not (np.isfinite(self.offset) & (self.offset >= 0)).all():
            raise MotionError(f"taper: offset must be finite and not negative, got {self.offset}")
        if not (self.gain > 0).all():
            raise MotionError(f"taper: gain must be positive, got {self.gain}")
        if not (self.first < self.last).all():
            raise MotionError(f"taper: no position is left to move in, from {self.first} to {self.last}")

    @property
    def first(self) -> Floats:
        """Lowest positions (J,) to which a joint can move [rad]: no speed is left there."""
        return self.lower + self.offset**2 / self.gain

    @property
    def last(self) -> Floats:
        """Highest positions (J,) to which a joint can move [rad]."""
        return self.upper - self.offset**2 / self.gain

    def needed(self, speed: Floats) -> Floats:
        """Distances (..., J) from `first` or `last` at which `speed` is just left, in that direction [rad]."""
        return speed * (speed + 2 * self.offset) / self.gain

    def fastest(self, q: Floats) -> tuple[Floats, Floats]:
        """Speeds at positions (..., J) that are left for moving down, and for moving up [rad/s]."""
        down, up = (np.sqrt(self.gain * np.maximum(way, 0.0)) for way in (q - self.lower, self.upper - q))
        return np.maximum(down - self.offset, 0.0), np.maximum(up - self.offset, 0.0)


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits of J joints, in the order of the chunk's columns; each array is (J,).

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
    taper: Taper | None = None
    """How `velocity` shrinks near the ends; None where it does for no joint."""

    def __post_init__(self) -> None:
        shapes = _shapes(self, ("lower", "upper", "velocity", "acceleration"))
        if len(set(shapes.values())) != 1 or self.lower.ndim != 1:
            raise MotionError(f"limits: expected four arrays of one shape (joints,), got {shapes}")
        if self.taper is not None and self.taper.offset.shape != self.lower.shape:
            raise MotionError(f"limits: {len(self.lower)} joints, but a taper of {len(self.taper.offset)}")
        if not (self.lower <= self.upper).all():
            raise MotionError(f"limits: lower must not exceed upper, got {self.lower} and {self.upper}")
        for name in ("velocity", "acceleration"):
            value = getattr(self, name)
            if not (np.isfinite(value) & (value > 0)).all():
                raise MotionError(f"limits: {name} must be positive and finite, got {value}")

    @property
    def bounded_lower(self) -> Floats:
        """Lower limits with a finite number in place of minus infinity."""
        return np.maximum(self.lower, -UNBOUNDED)

    @property
    def bounded_upper(self) -> Floats:
        """Upper limits with a finite number in place of infinity."""
        return np.minimum(self.upper, UNBOUNDED)


def _shapes(limits: Taper | Limits, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {name: getattr(limits, name).shape for name in names}


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
