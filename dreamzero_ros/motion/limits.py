# SPDX-License-Identifier: Apache-2.0
"""What the joints may do, and the report of what a chunk wanted beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.trajectory import Floats, Trajectory

UNBOUNDED = 1e6
"""Position limit of a joint that has none [rad or m]."""
TAPER_SAMPLES = 4
"""Places per point of a curve at which it is compared with the taper."""


@dataclass(frozen=True, eq=False)
class Taper:
    """How the velocity limits of J joints shrink towards the ends of their ranges; each is (J,).

    Moving up, a joint at q may be as fast as max(0, -offset + sqrt(gain (upper - q))); moving down, as fast
    as max(0, -offset + sqrt(gain (q - lower))). Of a joint without taper the offset is 0, the rest infinite.
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
        """Distances (..., J) from `first` or `last` at which `speed` is just left on the way there [rad]."""
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
    """One limit of one joint that a chunk exceeds; what is published stays within it."""

    joint: str
    limit: str
    """"position", "velocity" or "acceleration"."""
    wanted: float
    """Worst value wanted, in the unit of the limit."""
    allowed: float
    """The limit itself, or what the taper leaves of it there."""

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


def rate_hits(curve: Trajectory, limits: Limits) -> list[LimitHit]:
    """Joints of which the curve exceeds the velocity or the acceleration limit anywhere."""
    extremes = curve.extremes()
    return [
        LimitHit(curve.joints[j], name, float(wanted[j]), float(allowed[j]))
        for name, wanted, allowed in (
            ("velocity", extremes.velocity, limits.velocity),
            ("acceleration", extremes.acceleration, limits.acceleration),
        )
        for j in np.flatnonzero(wanted > allowed)
    ]


def taper_hits(curve: Trajectory, limits: Limits) -> list[LimitHit]:
    """Joints of which the curve is faster than the taper leaves, each where it is by most."""
    if limits.taper is None:
        return []
    points_ns = curve.points_ns
    q, v = curve.sample(
        np.linspace(points_ns[0], points_ns[-1], TAPER_SAMPLES * len(points_ns)).astype(np.int64)
    )
    down, up = limits.taper.fastest(q)
    speed, allowed = np.abs(v), np.where(v > 0, up, down)
    worst = (speed - allowed).argmax(axis=0)
    return [
        LimitHit(joint, "velocity", float(speed[i, j]), float(allowed[i, j]))
        for j, (joint, i) in enumerate(zip(curve.joints, worst, strict=True))
        if speed[i, j] > allowed[i, j]
    ]
