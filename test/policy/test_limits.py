# SPDX-License-Identifier: Apache-2.0
"""The limits of a robot file reach motion whole."""

from __future__ import annotations

import numpy as np
import pytest

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.policy.limits import limits_of

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize("name", ["droid_franka", "agibot_g1", "yam", "example"])
def test_every_command_joint_has_its_limits(name: str) -> None:
    robot = load(name)
    limits = limits_of(robot)
    for j, joint in enumerate(robot.command_joints):
        row = robot.limits[joint]
        got = [values[j] for values in (limits.lower, limits.upper, limits.velocity, limits.acceleration)]
        assert got == [row.lower, row.upper, row.velocity, row.acceleration]


def test_the_fr3_is_slower_near_the_ends_of_its_range_and_its_hand_is_not() -> None:
    robot = load("droid_franka", {"arm": "fr3"})
    limits = limits_of(robot)
    assert limits.taper is not None
    near_the_end = limits.upper - 0.01 * (limits.upper - limits.lower)
    _, up = limits.taper.fastest(near_the_end)
    assert (up[:7] < limits.velocity[:7]).all() and np.isinf(up[7])
    row = robot.limits["fr3_joint2"].velocity_taper
    assert row is not None
    assert up[1] == pytest.approx(-row.offset + np.sqrt(row.gain * (row.upper - near_the_end[1])))
    assert limits_of(load("droid_franka")).taper is None
