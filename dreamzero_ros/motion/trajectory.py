# SPDX-License-Identifier: Apache-2.0
"""A joint trajectory as joint_trajectory_controller executes it: piecewise cubic Hermite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.errors import MotionError

Floats = NDArray[np.float64]

NS_PER_S = 1_000_000_000
SHORTEST_SEGMENT_S = 1e-6
"""Knots closer than this to a cut are left out: with nanosecond times they would add only rounding."""
HOLD_S = 0.5
"""Length of a trajectory at rest; controllers reject one that has ended when it arrives."""


def seconds_to_ns(seconds: float) -> int:
    """Nearest whole number of nanoseconds."""
    return round(seconds * NS_PER_S)


@dataclass(frozen=True)
class Extremes:
    """Exact bounds of a trajectory over all its length, between the points too; each is (J,)."""

    lower: Floats
    """Smallest position [rad or m]."""
    upper: Floats
    """Largest position [rad or m]."""
    velocity: Floats
    """Largest speed [rad/s or m/s]."""
    acceleration: Floats
    """Largest absolute acceleration [rad/s^2 or m/s^2]."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Points with velocities and the cubics between them.

    On a segment of length T from (q0, v0) to (q1, v1) the position after s seconds is
    q0 + v0 s + c2 s^2 + c3 s^3 with c2 = (3 (q1 - q0) - (2 v0 + v1) T) / T^2 and
    c3 = (2 (q0 - q1) + (v0 + v1) T) / T^3, which is `Trajectory::interpolate_between_points` of
    joint_trajectory_controller for points with positions and velocities. Where q1 - q0 = (v0 + v1) T / 2 the
    cubic is a parabola of constant acceleration.

    Raises:
        MotionError: for fewer than two points, shapes that disagree, times that do not increase, or values
            that are not finite.
    """

    start_ns: int
    """Time from which `times_s` counts: the header stamp of the message [ns, ROS clock]."""
    joints: tuple[str, ...]
    """Names of the J columns."""
    times_s: Floats
    """(N,) strictly increasing, first not negative, whole nanoseconds [s]."""
    positions: Floats
    """(N, J) [rad or m]."""
    velocities: Floats
    """(N, J) [rad/s or m/s]."""

    def __post_init__(self) -> None:
        expected = (len(self.times_s), len(self.joints))
        if self.positions.shape != expected or self.velocities.shape != expected:
            raise MotionError(
                f"trajectory: expected positions and velocities of shape (points, joints) = {expected}, "
                f"got {self.positions.shape} and {self.velocities.shape}"
            )
        if len(self.times_s) < 2:
            raise MotionError(f"trajectory: expected two points or more, got {len(self.times_s)}")
        if self.times_s[0] < 0 or not (np.diff(self.times_s) > 0).all():
            raise MotionError("trajectory: point times must start at zero or later and increase strictly")
        if not (np.isfinite(self.positions).all() and np.isfinite(self.velocities).all()):
            raise MotionError("trajectory: positions and velocities must be finite")

    @property
    def end_ns(self) -> int:
        """Time of the last point [ns, ROS clock]."""
        return self.start_ns + seconds_to_ns(float(self.times_s[-1]))

    @property
    def points_ns(self) -> NDArray[np.int64]:
        """Times (N,) of the points [ns, ROS clock]."""
        offsets: NDArray[np.int64] = np.rint(self.times_s * NS_PER_S).astype(np.int64)
        return offsets + self.start_ns

    def sample(self, t_ns: int | NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Position and velocity at one time or at many.

        Args:
            t_ns: a time, or (M,) times [ns, ROS clock]. Outside the trajectory it rests at its nearest end.

        Returns:
            Positions and velocities, (J,) each for one time, (M, J) for many.
        """
        elapsed = np.atleast_1d(np.asarray(t_ns, dtype=np.int64) - self.start_ns) / NS_PER_S
        inside = (elapsed >= self.times_s[0]) & (elapsed <= self.times_s[-1])
        clipped = np.clip(elapsed, self.times_s[0], self.times_s[-1])
        segment = np.clip(np.searchsorted(self.times_s, clipped, side="right") - 1, 0, len(self.times_s) - 2)
        c2, c3 = self._coefficients(segment)
        s = (clipped - self.times_s[segment])[:, None]
        q0, v0 = self.positions[segment], self.velocities[segment]
        q = q0 + s * (v0 + s * (c2 + s * c3))
        v = (v0 + s * (2 * c2 + 3 * s * c3)) * inside[:, None]
        at_end = clipped == self.times_s[-1]
        q[at_end] = self.positions[-1]
        v[at_end & inside] = self.velocities[-1]
        return (q[0], v[0]) if np.ndim(t_ns) == 0 else (q, v)

    def window(self, from_ns: int, to_ns: int) -> Trajectory:
        """The same motion between two times, as a trajectory that starts at `from_ns`."""
        shift = (self.start_ns - from_ns) / NS_PER_S
        length = (to_ns - from_ns) / NS_PER_S
        times = self.times_s + shift
        inner = (times > SHORTEST_SEGMENT_S) & (times < length - SHORTEST_SEGMENT_S)
        (q0, q1), (v0, v1) = self.sample(np.array([from_ns, to_ns]))
        return Trajectory(
            start_ns=from_ns,
            joints=self.joints,
            times_s=np.concatenate([[0.0], np.round(times[inner], 9), [length]]),
            positions=np.vstack([q0, self.positions[inner], q1]),
            velocities=np.vstack([v0, self.velocities[inner], v1]),
        )

    def points_from(self, first: int) -> Trajectory:
        """The same motion without the points before number `first`."""
        kept = slice(first, None)
        return Trajectory(
            self.start_ns, self.joints, self.times_s[kept], self.positions[kept], self.velocities[kept]
        )

    def extended(self, times_s: Floats, positions: Floats, velocities: Floats) -> Trajectory:
        """This trajectory and further points, their times counted from its last point."""
        return Trajectory(
            start_ns=self.start_ns,
            joints=self.joints,
            times_s=np.concatenate([self.times_s, np.round(self.times_s[-1] + times_s, 9)]),
            positions=np.vstack([self.positions, positions]),
            velocities=np.vstack([self.velocities, velocities]),
        )

    def extremes(self) -> Extremes:
        """Largest and smallest values anywhere, from the turning points of the cubics."""
        segment = np.arange(len(self.times_s) - 1)
        T = np.diff(self.times_s)[:, None]
        q0, v0 = self.positions[:-1], self.velocities[:-1]
        c2, c3 = self._coefficients(segment)

        discriminant = np.sqrt(np.maximum(c2 * c2 - 3 * v0 * c3, 0.0))
        half = -(c2 + np.copysign(discriminant, c2))  # the root without cancellation; the other is v0 / half
        with np.errstate(divide="ignore", invalid="ignore"):
            turns = np.stack([half / (3 * c3), v0 / half, -c2 / (3 * c3)])
        turns = np.clip(np.nan_to_num(turns, nan=0.0, posinf=0.0, neginf=0.0), 0.0, T)
        q = q0 + turns[:2] * (v0 + turns[:2] * (c2 + turns[:2] * c3))
        v = v0 + turns[2] * (2 * c2 + 3 * turns[2] * c3)
        return Extremes(
            lower=np.minimum(self.positions.min(axis=0), q.min(axis=(0, 1))),
            upper=np.maximum(self.positions.max(axis=0), q.max(axis=(0, 1))),
            velocity=np.maximum(np.abs(self.velocities).max(axis=0), np.abs(v).max(axis=0)),
            acceleration=np.abs(np.stack([2 * c2, 2 * c2 + 6 * c3 * T])).max(axis=(0, 1)),
        )

    def _coefficients(self, segment: NDArray[np.intp]) -> tuple[Floats, Floats]:
        T = (self.times_s[segment + 1] - self.times_s[segment])[:, None]
        dq = self.positions[segment + 1] - self.positions[segment]
        v0, v1 = self.velocities[segment], self.velocities[segment + 1]
        return (3 * dq - (2 * v0 + v1) * T) / T**2, ((v0 + v1) * T - 2 * dq) / T**3


def hold(joints: tuple[str, ...], positions: Floats, now_ns: int, length_s: float = HOLD_S) -> Trajectory:
    """A trajectory at rest at `positions` (J,) from `now_ns` on."""
    at_rest = np.tile(np.asarray(positions, dtype=np.float64), (2, 1))
    return Trajectory(now_ns, joints, np.array([0.0, length_s]), at_rest, np.zeros_like(at_rest))
