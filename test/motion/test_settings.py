# SPDX-License-Identifier: Apache-2.0
"""Settings out of their range are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.settings import Settings

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize("name", ["lead_s", "grid_s", "blend_s", "soft_share", "speed_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(MotionError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("soft_share", 1.1),
        ("speed_scale", 1.1),
        ("debounce_steps", -1),
        ("on_position", "slow_down"),
        ("on_velocity", "ignore"),
    ],
)
def test_settings_have_ranges(name: str, value: object) -> None:
    with pytest.raises(MotionError, match=name):
        Settings(**{name: value})
