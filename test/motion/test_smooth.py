# SPDX-License-Identifier: Apache-2.0
"""Smoothing is the published filter, takes jitter and leaves motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter

from dreamzero_ros.motion.smooth import smoothed

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize("horizon", [11, 24, 48])
def test_equals_the_published_composition(horizon: int) -> None:
    """2x cubic upsampling, window 21, order 3, downsampling."""
    targets = np.random.default_rng(horizon).normal(0, 1, (horizon, 7))
    upsampled = CubicSpline(np.arange(horizon), targets)(np.arange(0, horizon - 0.75, 0.5))
    expected = savgol_filter(upsampled, 21, 3, axis=0)[::2]
    np.testing.assert_allclose(smoothed(targets), expected, atol=1e-12)


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_cubics_stay_as_they_are(horizon: int, seed: int) -> None:
    """Up to both ends, whatever the horizon."""
    t = np.linspace(-1, 1, horizon)[:, None]
    a, b, c, d = np.random.default_rng(seed).normal(0, 1, (4, 3))
    motion = a + b * t + c * t**2 + d * t**3
    np.testing.assert_allclose(smoothed(motion), motion, atol=1e-12)


@pytest.mark.parametrize("horizon", [5, 6, 8, 12, 24])
def test_jitter_shrinks(horizon: int, figures: Callable[[str, float], None]) -> None:
    rng = np.random.default_rng(0)
    t = np.arange(horizon)[:, None] / 15
    motion = 0.5 * np.sin(2.0 * t + np.arange(200))
    noisy = motion + 0.02 * rng.standard_normal(motion.shape)

    def jerk(targets: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.diff(targets, 3, axis=0) ** 2)) * 15**3)

    def error(targets: np.ndarray) -> np.ndarray:
        return np.sqrt(np.mean((targets - motion) ** 2, axis=1))

    before, after = jerk(noisy), jerk(smoothed(noisy))
    figures(f"RMS jerk of {horizon} noisy targets, smoothed / as they come", after / before)
    assert after < 0.5 * before
    assert (error(smoothed(noisy)) < 1.15 * error(noisy).mean()).all(), "no target is worse off"
    if horizon >= 12:
        assert error(smoothed(noisy))[0] < error(noisy).mean(), "neither is the first"
