# SPDX-License-Identifier: Apache-2.0
"""Limits that cannot be meant are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chunks import some_limits
from tapers import fr3_limits, no_taper

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import Limits, Taper

pytestmark = pytest.mark.cpu


def test_limits_are_checked() -> None:
    with pytest.raises(MotionError, match="velocity must be positive"):
        some_limits(2, velocity=0.0)
    with pytest.raises(MotionError, match="lower must not exceed upper"):
        some_limits(2, reach=-1.0)
    with pytest.raises(MotionError, match="one shape"):
        Limits(np.zeros(2), np.zeros(3), np.ones(2), np.ones(2))


def test_tapers_are_checked() -> None:
    one = np.ones(1)
    with pytest.raises(MotionError, match="offset"):
        Taper(-one, one, -one, one)
    with pytest.raises(MotionError, match="gain"):
        Taper(one, 0 * one, -one, one)
    with pytest.raises(MotionError, match="no position is left"):
        Taper(one, one, -one, one)
    with pytest.raises(MotionError, match="one shape"):
        Taper(one, one, np.ones(2), one)
    with pytest.raises(MotionError, match="7 joints, but a taper of 2"):
        replace(fr3_limits(), taper=no_taper(2))
