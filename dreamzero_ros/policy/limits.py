# SPDX-License-Identifier: Apache-2.0
"""The limits of a robot file as motion takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dreamzero_ros.embodiment.schema import Embodiment, VelocityTaper
from dreamzero_ros.motion.limits import Limits, Taper

NO_TAPER = VelocityTaper(offset=0.0, gain=np.inf, lower=-np.inf, upper=np.inf)


def limits_of(embodiment: Embodiment) -> Limits:
    """The limits of the command joints, in their order."""
    rows = [embodiment.limits[joint] for joint in embodiment.command_joints]
    return Limits(
        lower=np.array([row.lower for row in rows]),
        upper=np.array([row.upper for row in rows]),
        velocity=np.array([row.velocity for row in rows]),
        acceleration=np.array([row.acceleration for row in rows]),
        taper=_taper([row.velocity_taper for row in rows]),
    )


def _taper(rows: Sequence[VelocityTaper | None]) -> Taper | None:
    if not any(rows):
        return None
    some = [row or NO_TAPER for row in rows]
    return Taper(
        offset=np.array([row.offset for row in some]),
        gain=np.array([row.gain for row in some]),
        lower=np.array([row.lower for row in some]),
        upper=np.array([row.upper for row in some]),
    )
