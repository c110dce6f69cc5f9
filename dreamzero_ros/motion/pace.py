# SPDX-License-Identifier: Apache-2.0
"""What becomes of a chunk that asks for more than the limits: clamped, slowed down or refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import LimitHit, Limits
from dreamzero_ros.motion.settings import Settings

SLOWEST = 4.0
"""A chunk that would have to be slower than this many times is not what the policy meant."""
NAMED = 3
"""Hits that are named in an error."""


def time_scale(
    joints: tuple[str, ...], hits: Sequence[LimitHit], limits: Limits, settings: Settings
) -> float:
    """By how much the chunk has to be slowed down; 1 when it need not, or when it is to be clamped.

    Velocities shrink with the factor, accelerations with its square. Near the end of a range, where a taper
    leaves less than 1 / `SLOWEST` of the velocity limit, a joint comes late instead: at the last position no
    speed is slow enough.

    Args:
        joints: Names of the J joints.
        hits: What the chunk asks beyond the limits.
        limits: Of the joints.
        settings: What is to become of it. Grippers are clamped whatever it says.

    Raises:
        MotionError: A limit was hit of which the settings say `refuse`, or the factor exceeds `SLOWEST`.
    """
    policies = {
        "position": settings.on_position,
        "velocity": settings.on_velocity,
        "acceleration": settings.on_acceleration,
    }
    exempt = set() if settings.grippers is None else {joints[j] for j in np.flatnonzero(settings.grippers)}
    hits = [hit for hit in hits if hit.joint not in exempt]
    refused = [hit for hit in hits if policies[hit.limit] == "refuse"]
    if refused:
        raise MotionError(f"chunk refused, it is beyond limits: {_listed(refused)}")
    scale = 1.0
    for hit in hits:
        if policies[hit.limit] == "slow_down":
            factor = _factor(hit, limits.velocity[joints.index(hit.joint)])
            if factor > SLOWEST:
                raise MotionError(
                    f"chunk refused, it would have to be {factor:.1f} times slower, "
                    f"{SLOWEST:.0f} times at most: {hit}"
                )
            scale = max(scale, factor)
    return scale


def _factor(hit: LimitHit, fastest: float) -> float:
    if hit.limit == "velocity":
        return hit.wanted / max(hit.allowed, fastest / SLOWEST)
    return float(np.sqrt(hit.wanted / hit.allowed))


def _listed(hits: Sequence[LimitHit]) -> str:
    more = f"; and {len(hits) - NAMED} more" if len(hits) > NAMED else ""
    return "; ".join(str(hit) for hit in hits[:NAMED]) + more
