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
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.trajectory import Floats


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
        lower, upper, p = (lower - q) / unit_q, (upper - q) / unit_q, np.zeros_like(x)
        fastest = self.limits.velocity / unit_v
        ref_x = ref_v / unit_v
        ref_p = (ref_q - q) / unit_q - 0.5 * ref_x  # where the joint has to be before it moves with ref_x / 2

        out = np.empty((2, *ref_q.shape))
        room = np.empty((3, len(q)))
        for k in range(len(ref_q)):
            p += 0.5 * x
            np.subtract(upper, p, out=room[0])
            np.subtract(p, lower, out=room[1])
            np.subtract(ref_p[k], p, out=room[2])
            side = np.sign(room[2])
            room[2] *= side / self.soft_share
            speed = _fastest_approach(np.maximum(room, 0.0, out=room))
            wanted = ref_x[k] + side * self.soft_share * speed[2]
            np.minimum(speed[:2], fastest, out=speed[:2])
            wanted = np.minimum(np.maximum(wanted, -speed[1]), speed[0])
            x = np.minimum(np.maximum(wanted, x - 1.0), x + 1.0)
            p += 0.5 * x
            out[0, k], out[1, k] = p, x
        return q + out[0] * unit_q, out[1] * unit_v

    def brake(self, q: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Comes to rest from a state, straight on in joint space where there is room.

        All joints take the same time, so the path keeps its direction; a joint for which that way is too long
        before its position limit brakes as hard as it may.

        Args:
            q: (J,) positions [rad or m].
            v: (J,) velocities.

        Returns:
            Positions and velocities (M, J) at the ends of the M grid steps it takes; the last is at rest.
        """
        unit_v = self.limits.acceleration * self.step_s
        unit_q = unit_v * self.step_s
        x = v / unit_v
        lower, upper = self._room(q, x)
        steps = int(np.ceil(np.abs(x).max() / self.soft_share))
        end = q + 0.5 * steps * x * unit_q
        fits = (end >= lower) & (end <= upper)
        braking = np.where(fits, np.abs(x) / max(steps, 1), 1.0)
        speed = np.maximum(np.abs(x) - np.arange(steps + 1)[:, None] * braking, 0.0) * np.sign(x)
        speed[steps:] = 0.0
        way = np.cumsum(0.5 * (speed[1:] + speed[:-1]), axis=0)
        return q + way * unit_q, speed[1:] * unit_v

    def _room(self, q: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Position limits (J,) each, widened to what the present motion cannot avoid."""
        way = _stopping_distance(np.abs(x)) * self.limits.acceleration * self.step_s**2
        lower = np.minimum(self.limits.bounded_lower, q - np.where(x < 0, way, 0.0))
        upper = np.maximum(self.limits.bounded_upper, q + np.where(x > 0, way, 0.0))
        return lower, upper


def _stopping_distance(x: Floats) -> Floats:
    n = np.floor(x)
    return x * (n + 0.5) - 0.5 * n * (n + 1.0)


def _fastest_approach(c: Floats) -> Floats:
    n = np.floor(np.sqrt(2.0 * c + 0.25) - 0.5)
    return c / (n + 1.0) + 0.5 * n
