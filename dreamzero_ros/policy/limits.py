# SPDX-License-Identifier: Apache-2.0
"""The limits of a robot file as motion takes them."""

from __future__ import annotations

import numpy as np

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.limits import Limits


def limits_of(embodiment: Embodiment) -> Limits:
    """The limits of the command joints, in their order."""
    rows = [embodiment.limits[joint] for joint in embodiment.command_joints]
    return Limits(
        lower=np.array([row.lower for row in rows]),
        upper=np.array([row.upper for row in rows]),
        velocity=np.array([row.velocity for row in rows]),
        acceleration=np.array([row.acceleration for row in rows]),
    )
