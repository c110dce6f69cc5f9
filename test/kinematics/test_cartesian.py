# SPDX-License-Identifier: Apache-2.0
"""The angles of a pose against the rotations they stand for, and against tf_transformations where it is."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dreamzero_ros.kinematics.cartesian import cartesian_positions

pytestmark = pytest.mark.cpu

PI = np.pi

BY_HAND = [
    # columns: where x, y and z go; roll, pitch, yaw
    (((1, 0, 0), (0, 1, 0), (0, 0, 1)), (0, 0, 0)),
    (((1, 0, 0), (0, 0, 1), (0, -1, 0)), (PI / 2, 0, 0)),
    (((0, 1, 0), (-1, 0, 0), (0, 0, 1)), (0, 0, PI / 2)),
    # first about x, then about the z that stands still: y goes to z and stays there
    (((0, 1, 0), (0, 0, 1), (1, 0, 0)), (PI / 2, 0, PI / 2)),
    (((-1, 0, 0), (0, 1, 0), (0, 0, -1)), (PI, 0, PI)),
]


def turned(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (roll, pitch, yaw))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def pose(rotation: np.ndarray, position: tuple[float, ...] = (0.0, 0.0, 0.0)) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = rotation, position
    return made


@pytest.mark.parametrize(("columns", "angles"), BY_HAND)
def test_angles_worked_out_by_hand(columns: tuple, angles: tuple) -> None:
    found = cartesian_positions(pose(np.array(columns, float).T, (1.0, -2.0, 0.5)))
    assert found.shape == (6,)
    np.testing.assert_allclose(found[:3], (1.0, -2.0, 0.5))
    np.testing.assert_allclose(turned(*found[3:]), turned(*angles), atol=1e-12)
    np.testing.assert_allclose(np.abs(found[3:]), np.abs(angles), atol=1e-12)


@given(
    arrays(np.float64, 2, elements=st.floats(-PI + 0.01, PI - 0.01)), st.floats(-PI / 2 + 0.01, PI / 2 - 0.01)
)
def test_the_angles_come_back(roll_yaw: np.ndarray, pitch: float) -> None:
    angles = (roll_yaw[0], pitch, roll_yaw[1])
    poses = np.tile(pose(turned(*angles), (0.1, 0.2, 0.3)), (2, 3, 1, 1))
    found = cartesian_positions(poses)
    assert found.shape == (2, 3, 6)
    np.testing.assert_allclose(found, np.broadcast_to((0.1, 0.2, 0.3, *angles), (2, 3, 6)), atol=1e-9)


@pytest.mark.parametrize("pitch", [PI / 2, -PI / 2])
def test_a_hand_that_points_straight_up_or_down_has_no_yaw_and_no_warning(pitch: float) -> None:
    rotation = turned(0.3, pitch, 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cartesian_positions(pose(rotation))
    assert found[5] == 0.0
    np.testing.assert_allclose(turned(*found[3:]), rotation, atol=1e-7)


def test_they_are_those_of_tf_transformations() -> None:
    reference = pytest.importorskip("tf_transformations", reason="tf_transformations is not installed")
    for angles in np.random.default_rng(0).uniform(-3, 3, (50, 3)):
        made = pose(turned(*angles))
        np.testing.assert_allclose(
            cartesian_positions(made)[3:], reference.euler_from_matrix(made, "sxyz"), atol=1e-9
        )
