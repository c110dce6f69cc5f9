# SPDX-License-Identifier: Apache-2.0
"""The arm is where it was told to be, or it is said which joint is not."""

from __future__ import annotations

import numpy as np
import pytest

from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.policy.tracking import TrackingMonitor

pytestmark = pytest.mark.cpu

MS = 1_000_000
RAMP = Trajectory(
    0, ("elbow", "finger"), np.array([0.0, 10.0]), np.array([[0.0, 0.0], [5.0, 5.0]]), np.full((2, 2), 0.5)
)


def feed(monitor: TrackingMonitor, lag: float, start_ms: int, end_ms: int) -> str:
    text = ""
    for at_ms in range(start_ms, end_ms, 10):
        position = 0.5 * at_ms / 1000 - lag
        text = monitor.away(RAMP, at_ms * MS, np.array([position, -9.0]))
    return text


def make() -> TrackingMonitor:
    return TrackingMonitor(np.array([0.1, np.inf]), 0.25)


def test_a_small_lag_is_no_fault() -> None:
    assert feed(make(), 0.09, 0, 5000) == ""


def test_a_joint_that_stays_away_is_named() -> None:
    monitor = make()
    assert feed(monitor, 0.0, 0, 1000) == ""
    assert feed(monitor, 0.2, 1000, 1240) == ""
    text = feed(monitor, 0.2, 1240, 1300)
    assert "elbow" in text and "0.200" in text and "0.100 allowed" in text


def test_a_short_excursion_is_forgiven() -> None:
    monitor = make()
    for start in range(0, 3000, 300):
        assert feed(monitor, 0.3, start, start + 200) == ""
        assert feed(monitor, 0.0, start + 200, start + 300) == ""


def test_time_without_measurements_is_no_time_away() -> None:
    monitor = make()
    assert feed(monitor, 0.0, 0, 100) == ""
    assert feed(monitor, 0.2, 500, 520) == ""
    assert "elbow" in feed(monitor, 0.2, 520, 800)


def test_clearing_begins_anew() -> None:
    monitor = make()
    feed(monitor, 0.2, 0, 240)
    monitor.clear()
    assert feed(monitor, 0.2, 240, 400) == ""
