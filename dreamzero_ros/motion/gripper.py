# SPDX-License-Identifier: Apache-2.0
"""A gripper neither smoothed nor nervous: edges stay where they are, blips do not show."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dreamzero_ros.motion.trajectory import Floats


def debounced(targets: Floats, commanded: Floats, steps: int) -> Floats:
    """Leaves out changes that are taken back within some control steps.

    A gripper stays where it is unless this target and the next `steps` all lie to one side of it; then it
    follows as far as all of them do. Steps and slow motions that last are neither moved nor changed. A chunk
    is continued with its last target, so a change near its end counts as one that lasts.

    Args:
        targets: (A, G) positions of the grippers [rad or m].
        commanded: (G,) position commanded before the first target, so that a blip there shows as well.
        steps: longest blip [control steps]; 0 leaves out nothing.

    Returns:
        Positions (A, G).
    """
    continued = np.vstack([targets, np.repeat(targets[-1:], steps, axis=0)])
    ahead = sliding_window_view(continued, steps + 1, axis=0)
    nearest, furthest = ahead.min(axis=-1), ahead.max(axis=-1)
    out = np.empty_like(targets)
    for i in range(len(targets)):
        commanded = out[i] = np.minimum(np.maximum(commanded, nearest[i]), furthest[i])
    return out
