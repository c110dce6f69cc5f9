# SPDX-License-Identifier: Apache-2.0
"""Smoothing of a chunk as published for this model: upsample, Savitzky-Golay, downsample.

The filter is linear in the targets, so all of it is one matrix per horizon. Ends are fitted, not padded
(`mode="interp"`): motions that are cubics stay exactly as they are up to the first and last target, and
independent noise does not grow anywhere from 10 targets on: to 0.97 of it at the first and last target, to
0.6 and less elsewhere.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter

from dreamzero_ros.motion.trajectory import Floats

UPSAMPLING = 2
WINDOW = 21
"""Length of the filter [upsampled targets]."""
ORDER = 3
"""Of the polynomials that the filter fits."""


def smoothed(targets: Floats) -> Floats:
    """Targets (A, J) without their jitter, at the same times.

    A horizon too short for the window is filtered with the longest one that fits. Up to four targets lie on
    one cubic and stay as they are.
    """
    return targets if len(targets) <= ORDER + 1 else _filter(len(targets)) @ targets


@lru_cache(maxsize=8)
def _filter(horizon: int) -> Floats:
    """(A, A) matrix."""
    steps = np.arange(horizon)
    finer = np.arange(UPSAMPLING * (horizon - 1) + 1) / UPSAMPLING
    upsampled = CubicSpline(steps, np.eye(horizon))(finer)
    window = min(WINDOW, len(finer) - 1 + len(finer) % 2)
    matrix: Floats = savgol_filter(upsampled, window, ORDER, axis=0, mode="interp")[::UPSAMPLING]
    return matrix
