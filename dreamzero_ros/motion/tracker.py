# SPDX-License-Identifier: Apache-2.0
"""Follows any reference, and comes to rest, within position, velocity and acceleration limits everywhere.

Time is cut into steps of h seconds with constant acceleration each, so velocity is linear and position a
parabola within a step. Per joint, velocities are measured in units of a h and positions in units of a h^2, a
being the acceleration limit, and the law reads without constants:

- From speed x a joint can stop within D(x) = x (n + 1/2) - n (n + 1) / 2, n = floor(x): full braking for n
  steps, the rest in one more. D is the polygon through x^2 / 2 at whole x.
- A state from which the stop fits in front of the limit stays such a state if the next speed x' satisfies
  x' / 2 + D(x') <= c, c being the room that is left after moving with x / 2. The largest such x' is
  c / (n + 1) + n / 2, n = floor(sqrt(2 c + 1/4) - 1/2).
- The turning point of a parabola that starts in such a state and reverses within the step lies before the
  limit too, because D(x) >= x / 2. Bounds at the knots are therefore bounds everywhere.

The same formula closes the distance to the reference: it is the largest speed, relative to the reference,
from which the difference can be braked away without overshoot. Small differences vanish in two steps. The
acceleration limit comes before the others; from a state within limits all of them can be kept.

A taper with offset c and gain g leaves, at the distance r to its last position, the speed v for which
R(v) = (v^2 + 2 c v) / g = r. Following it takes decelerations up to g / 2, so g is lowered to 2 a where a
taper asks for more than the joint can brake. Then, for v > 0:

- With full braking from v >= a h for a step, q + R(v) does not grow, as g <= 2 a; a slower joint stops
  within the step, before the position limit. So if q + R(v) lies before the last position at a knot, it can
  do so at the next one. The largest next speed v' solves v' h / 2 + R(v') = r, r being the room that is left
  after moving with v / 2.
- Within a step at acceleration -b, q + R(v) is a parabola of second derivative -b (g - 2 b) / g >= -g / 8,
  which rises above its ends by g h^2 / 64 at most. Keeping so much more away from the last position at the
  knots keeps the taper everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.limits import Limits, Taper
from dreamzero_ros.motion.trajectory import Floats

UP_DOWN = np.array([[1.0], [-1.0]])


@dataclass(frozen=True, eq=False)
class Tracker:
    """The law above for one grid step and one set of limits."""

    limits: Limits
    step_s: float
    """Length h of a grid step [s]."""
    soft_share: float
    """Share of the acceleration limit for closing distances and for stops that have room, in (0, 1]."""

    def follow(self, q: Floats, v: Floats, ref_q: Floats, ref_v: Floats) -> tuple[Floats, Floats]:
        """Moves from a state along a reference.

        Args:
            q: (J,) positions at the start [rad or m].
            v: (J,) velocities at the start.
            ref_q: (N, J) reference positions at the ends of the N grid steps.
            ref_v: (N, J) reference velocities there.

        Returns:
            Positions and velocities (N, J) at the ends of the grid steps.
        """
        unit_v = self.limits.acceleration * self.step_s
        unit_q = unit_v * self.step_s
        x = v / unit_v
        lower, upper = self._room(q, x)
        ends = np.stack([upper - q, q - lower]) / unit_q
        fastest = self.limits.velocity / unit_v
        ref_x = ref_v / unit_v
        ref_p = (ref_q - q) / unit_q - 0.5 * ref_x  # where the joint has to be before it moves with ref_x / 2
        taper = self._taper
        if taper is not None:
            tapered_ends = np.stack([taper.last - q, q - taper.first]) / unit_q
            gain = taper.gain / self.limits.acceleration
            offset = taper.offset / unit_v + 0.25 * gain
            offset_squared = offset * offset

        speeds = np.empty((len(ref_q) + 1, len(q)))
        speeds[0] = x
        room = np.empty((3, len(q)))
        p = (
            0.5 * x
        )  # where the joint will be after half of the next step at the present speed and half at none
        for k in range(len(ref_q)):
            way = p * UP_DOWN
            gap = ref_p[k] - p
            np.subtract(ends, way, out=room[:2])
            np.multiply(np.abs(gap), 1.0 / self.soft_share, out=room[2])
            speed = _fastest_approach(np.maximum(room, 0.0, out=room))
            cap = np.minimum(speed[:2], fastest)
            if taper is not None:
                left = np.maximum(tapered_ends - way, 0.0)
                cap = np.minimum(cap, np.sqrt(gain * left + offset_squared) - offset)
            wanted = ref_x[k] + np.copysign(self.soft_share * speed[2], gap)
            wanted = np.minimum(np.maximum(wanted, -cap[1]), cap[0])
            x = np.minimum(np.maximum(wanted, x - 1.0), x + 1.0)
            speeds[k + 1] = x
            p = p + x
        moved = np.cumsum(0.5 * (speeds[1:] + speeds[:-1]), axis=0)
        return q + moved * unit_q, speeds[1:] * unit_v

    def brake(self, q: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Comes to rest from a state, straight on in joint space where there is room.

        All joints take the same time, so the path keeps its direction; a joint for which that way is too long
        before its position limit, or too fast for its taper, brakes as hard as it may.

        Args:
            q: (J,) positions [rad or m].
            v: (J,) velocities.

        Returns:
            Positions and velocities (M, J) at the ends of the M grid steps it takes; the last is at rest.
        """
        x = v / (self.limits.acceleration * self.step_s)
        steps = int(np.ceil(np.abs(x).max() / self.soft_share))
        gently = np.abs(x) / max(steps, 1)
        braking = np.where(self._fits(q, *self._slowed(q, x, gently, steps)), gently, 1.0)
        positions, velocities = self._slowed(q, x, braking, steps)
        return positions[1:], velocities[1:]

    def _slowed(self, q: Floats, x: Floats, braking: Floats, steps: int) -> tuple[Floats, Floats]:
        """Positions and velocities (steps + 1, J) from a state on, slower by `braking` units at each step."""
        unit_v = self.limits.acceleration * self.step_s
        speed = np.maximum(np.abs(x) - np.arange(steps + 1)[:, None] * braking, 0.0) * np.sign(x)
        speed[steps:] = 0.0
        way = np.zeros_like(speed)
        np.cumsum(0.5 * (speed[1:] + speed[:-1]), axis=0, out=way[1:])
        return q + way * unit_v * self.step_s, speed * unit_v

    def _fits(self, q: Floats, positions: Floats, velocities: Floats) -> NDArray[np.bool_]:
        """Whether (J,) joints stay within position limits and taper on their way to rest."""
        lower, upper = self._room(q, velocities[0] / (self.limits.acceleration * self.step_s))
        fits: NDArray[np.bool_] = (positions[-1] >= lower) & (positions[-1] <= upper)
        taper = self._taper
        if taper is not None:
            needed = taper.needed(np.abs(velocities))
            up = (positions + needed <= taper.last) | (velocities <= 0)
            down = (positions - needed >= taper.first) | (velocities >= 0)
            fits &= (up & down).all(axis=0)
        return fits

    @cached_property
    def _taper(self) -> Taper | None:
        """The taper as it is kept at the knots: one that braking can follow, away from the last positions."""
        asked = self.limits.taper
        if asked is None:
            return None
        gain = np.minimum(asked.gain, 2 * self.limits.acceleration)
        margin = np.where(np.isfinite(asked.gain), gain * self.step_s**2 / 64, 0.0)
        reach = asked.offset**2 / gain - margin
        return Taper(asked.offset, gain, asked.first - reach, asked.last + reach)

    def _room(self, q: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Position limits (J,) each, widened to what the present motion cannot avoid."""
        way = _stopping_distance(np.abs(x)) * self.limits.acceleration * self.step_s**2
        lower, upper = self.limits.bounded_lower, self.limits.bounded_upper
        taper = self._taper
        if taper is not None:
            lower, upper = np.maximum(lower, taper.first), np.minimum(upper, taper.last)
        lower = np.minimum(lower, q - np.where(x < 0, way, 0.0))
        upper = np.maximum(upper, q + np.where(x > 0, way, 0.0))
        return lower, upper


def _stopping_distance(x: Floats) -> Floats:
    n = np.floor(x)
    return x * (n + 0.5) - 0.5 * n * (n + 1.0)


def _fastest_approach(c: Floats) -> Floats:
    n = np.floor(np.sqrt(2.0 * c + 0.25) - 0.5)
    return c / (n + 1.0) + 0.5 * n
