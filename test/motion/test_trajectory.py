# SPDX-License-Identifier: Apache-2.0
"""The trajectory interpolates as the controller does, and its bounds are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.trajectory import Trajectory, hold

pytestmark = pytest.mark.cpu
JOINTS = ("a", "b", "c")
START_NS = 1_700_000_000_000_000_000


def random_trajectory(seed: int, points: int = 7) -> Trajectory:
    """Irregular times, positions and velocities that need not fit each other."""
    rng = np.random.default_rng(seed)
    times = np.round(np.cumsum(rng.uniform(1e-3, 0.3, points)), 9)
    shape = (points, len(JOINTS))
    return Trajectory(START_NS, JOINTS, times, rng.normal(0, 2, shape), rng.normal(0, 3, shape))


@given(st.integers(0, 10_000))
def test_samples_equal_a_cubic_hermite_spline(seed: int) -> None:
    trajectory = random_trajectory(seed)
    span_ns = trajectory.end_ns - trajectory.start_ns
    first_ns = round(trajectory.times_s[0] * 1e9)
    t_ns = START_NS + np.random.default_rng(seed).integers(first_ns, span_ns, 50)
    spline = CubicHermiteSpline(trajectory.times_s, trajectory.positions, trajectory.velocities)
    elapsed = (t_ns - START_NS) / 1e9

    q, v = trajectory.sample(t_ns)

    np.testing.assert_allclose(q, spline(elapsed), atol=1e-9)
    np.testing.assert_allclose(v, spline(elapsed, 1), atol=1e-7)
    one_q, one_v = trajectory.sample(int(t_ns[3]))
    assert one_q.shape == (3,)
    np.testing.assert_array_equal(one_q, q[3])
    np.testing.assert_array_equal(one_v, v[3])


def test_outside_it_rests_at_its_ends() -> None:
    trajectory = random_trajectory(0)
    q, v = trajectory.sample(np.array([START_NS - 1, trajectory.end_ns, trajectory.end_ns + 1]))
    np.testing.assert_array_equal(q, trajectory.positions[[0, -1, -1]])
    np.testing.assert_array_equal(v, [np.zeros(3), trajectory.velocities[-1], np.zeros(3)])


@given(st.integers(0, 10_000))
def test_extremes_are_exact(seed: int) -> None:
    """Bounds taken at the points alone would miss the bulges of the cubics."""
    trajectory = random_trajectory(seed)
    first_ns, last_ns = START_NS + round(trajectory.times_s[0] * 1e9), trajectory.end_ns
    dense = np.linspace(0, last_ns - first_ns, 20_001).astype(np.int64) + first_ns
    q, v = trajectory.sample(dense)
    spline = CubicHermiteSpline(trajectory.times_s, trajectory.positions, trajectory.velocities)
    a = np.abs(spline(trajectory.times_s[:-1] + 1e-12, 2))

    extremes = trajectory.extremes()

    for bound, sampled in ((-extremes.lower, -q), (extremes.upper, q), (extremes.velocity, np.abs(v))):
        assert (bound >= sampled.max(axis=0) - 1e-9).all()
        np.testing.assert_allclose(bound, sampled.max(axis=0), rtol=2e-3, atol=2e-3)
    assert (extremes.acceleration >= a.max(axis=0) - 1e-3 * extremes.acceleration).all()


@pytest.mark.parametrize("velocity", [0.0, 0.3])
def test_extremes_of_straight_lines(velocity: float) -> None:
    """Lines and parabolas have no cubic term to divide by."""
    times = np.array([0.0, 0.5, 1.0])
    positions = velocity * times[:, None]
    extremes = Trajectory(0, ("a",), times, positions, np.full((3, 1), velocity)).extremes()
    assert (extremes.lower[0], extremes.upper[0]) == (0.0, velocity)
    assert extremes.velocity[0] == pytest.approx(velocity)
    assert extremes.acceleration[0] == pytest.approx(0.0, abs=1e-12)


def test_extremes_of_a_parabola() -> None:
    """From speed 1 to speed -1 in one second: turns after half a second at 1/4."""
    trajectory = Trajectory(0, ("a",), np.array([0.0, 1.0]), np.zeros((2, 1)), np.array([[1.0], [-1.0]]))
    extremes = trajectory.extremes()
    assert extremes.upper[0] == pytest.approx(0.25)
    assert extremes.acceleration[0] == pytest.approx(2.0)


@given(st.integers(0, 10_000), st.integers(-300_000_000, 1_500_000_000), st.integers(1_000_000, 900_000_000))
def test_window_is_the_same_motion(seed: int, offset_ns: int, length_ns: int) -> None:
    """Cut anywhere, also at, before and after its ends, where it rests."""
    rng = np.random.default_rng(seed)
    times = np.round(np.arange(8) * rng.uniform(0.05, 0.2), 9)
    velocities = np.vstack([np.zeros(3), rng.normal(0, 0.5, (6, 3)), np.zeros(3)])
    trajectory = Trajectory(START_NS, JOINTS, times, rng.normal(0, 0.1, (8, 3)), velocities)
    from_ns = START_NS + offset_ns
    window = trajectory.window(from_ns, from_ns + length_ns)
    assert (window.start_ns, window.end_ns) == (from_ns, from_ns + length_ns)
    t_ns = from_ns + rng.integers(0, length_ns, 40)
    for cut, whole, atol in zip(window.sample(t_ns), trajectory.sample(t_ns), (1e-5, 1e-3), strict=True):
        np.testing.assert_allclose(cut, whole, atol=atol)


def test_points_from_is_the_same_motion() -> None:
    trajectory = random_trajectory(3)
    rest = trajectory.points_from(2)
    t_ns = np.linspace(rest.points_ns[0], rest.end_ns, 50).astype(np.int64)
    np.testing.assert_allclose(rest.sample(t_ns)[0], trajectory.sample(t_ns)[0], atol=1e-5)


def test_hold_rests() -> None:
    trajectory = hold(JOINTS, np.array([1.0, 2.0, 3.0]), START_NS)
    q, v = trajectory.sample(START_NS + np.array([0, 10**8, 10**10]))
    np.testing.assert_array_equal(q, np.tile([1.0, 2.0, 3.0], (3, 1)))
    np.testing.assert_array_equal(v, np.zeros((3, 3)))
    assert trajectory.end_ns > START_NS


@pytest.mark.parametrize(
    ("times", "positions", "words"),
    [
        ([0.0, 0.0], [[0.0], [1.0]], "increase strictly"),
        ([-0.1, 0.0], [[0.0], [1.0]], "start at zero"),
        ([0.0], [[0.0]], "two points"),
        ([0.0, 1.0], [[0.0], [np.nan]], "finite"),
        ([0.0, 1.0], [[0.0, 1.0], [0.0, 1.0]], "shape"),
    ],
)
def test_refuses_what_a_controller_could_not_execute(
    times: list[float], positions: list[list[float]], words: str
) -> None:
    points = np.array(positions)
    with pytest.raises(MotionError, match=words):
        Trajectory(0, ("a",), np.array(times), points, np.zeros_like(points))
