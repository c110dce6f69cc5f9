# SPDX-License-Identifier: Apache-2.0
"""Joints follow, with a lag, within their limits, and always in the same way."""

from __future__ import annotations

import numpy as np
import pytest

from dreamzero_ros.embodiment.schema import JointLimits
from dreamzero_ros.sim.world import STEP_NS, TIME_CONSTANT_S, World

pytestmark = pytest.mark.cpu
LIMITS = {
    "a": JointLimits(lower=-1.0, upper=1.0, velocity=2.0, acceleration=10.0),
    "b": JointLimits(lower=0.2, upper=0.5, velocity=100.0, acceleration=10.0),
}
MS = 1_000_000


def world() -> World:
    return World({"a": 0.0, "b": 0.0}, LIMITS)


def test_starts_within_limits() -> None:
    assert world().by_name() == {"a": 0.0, "b": 0.2}


def test_follows_with_its_lag() -> None:
    sim = world()
    sim.command(["b"], np.array([0.3]))
    sim.advance(round(TIME_CONSTANT_S * 1e9))
    assert sim.positions_of(["b"])[0] == pytest.approx(0.3 - 0.1 * np.exp(-1), abs=1e-9)
    sim.advance(1000 * MS)
    assert sim.positions_of(["b"])[0] == pytest.approx(0.3)


def test_never_faster_than_its_limit_nor_beyond_it() -> None:
    sim = world()
    sim.command(("b", "a"), np.array([9.0, -9.0]))
    path = []
    for ms in range(0, 1000, 2):
        sim.advance(ms * MS)
        path.append(sim.positions_of(["a", "b"]))
    speed = np.abs(np.diff(path, axis=0)) / (STEP_NS * 1e-9)
    assert speed[:, 0].max() == pytest.approx(2.0)
    np.testing.assert_allclose(path[-1], [-1.0, 0.5], atol=1e-6)


def test_the_same_commands_give_the_same_positions_however_often_it_is_advanced() -> None:
    often, once = world(), world()
    for sim in (often, once):
        sim.command(["a"], np.array([0.7]))
    for ns in range(0, 50 * MS, 700_000):
        often.advance(ns)
    often.advance(50 * MS)
    once.advance(50 * MS)
    np.testing.assert_array_equal(often.positions, once.positions)
    np.testing.assert_array_equal(often.velocities, once.velocities)


def test_time_does_not_run_backwards() -> None:
    sim = world()
    sim.command(["a"], np.array([0.7]))
    sim.advance(50 * MS)
    before = sim.positions.copy()
    sim.advance(10 * MS)
    sim.advance(50 * MS)
    np.testing.assert_array_equal(sim.positions, before)
