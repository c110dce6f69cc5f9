# SPDX-License-Identifier: Apache-2.0
"""The wanted motion: a curve through the targets that leaves the executed motion without a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.trajectory import NS_PER_S, Floats, Trajectory


def through_targets(stamp_ns: int, dt_s: float, joints: tuple[str, ...], targets: Floats) -> Trajectory:
    """Cubic Hermite curve through targets (A, J), target i at stamp + (i + 1) dt.

    Velocities are central differences. It begins at the stamp, one step before the first target, on the line
    through the first two.
    """
    second = targets[min(1, len(targets) - 1)]
    knots = np.vstack([2.0 * targets[0] - second, targets])
    times = np.round(np.arange(len(knots)) * dt_s, 9)
    return Trajectory(stamp_ns, joints, times, knots, np.gradient(knots, dt_s, axis=0))


def blended(
    curve: Trajectory, q: Floats, v: Floats, times_ns: NDArray[np.int64], blend_s: float
) -> tuple[Floats, Floats]:
    """The curve, joined to a state: their difference at the first time fades to zero as a cubic.

    Args:
        curve: where the targets lead; past its end it goes straight on.
        q: (J,) positions to leave from at `times_ns[0]` [rad or m].
        v: (J,) velocities there.
        times_ns: (M,) times, increasing [ns, ROS clock].
        blend_s: time after which only the curve counts [s].

    Returns:
        Positions and velocities (M, J); the first row is (q, v).
    """
    within = np.minimum(times_ns, curve.end_ns)
    curve_q, curve_v = curve.sample(within)
    curve_q = curve_q + (times_ns - within)[:, None] / NS_PER_S * curve_v

    dq, dv = q - curve_q[0], (v - curve_v[0]) * blend_s
    u = np.minimum((times_ns - times_ns[0])[:, None] / NS_PER_S / blend_s, 1.0)
    fade_q = dq * (1 + u * u * (2 * u - 3)) + dv * (u * (1 - u) ** 2)
    fade_v = (dq * (6 * u * (u - 1)) + dv * (1 - u) * (1 - 3 * u)) / blend_s
    return curve_q + fade_q, curve_v + fade_v
