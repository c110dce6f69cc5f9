# SPDX-License-Identifier: Apache-2.0
"""Poses as six numbers, the form in which remote policies ask for the end effector."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]


def cartesian_positions(poses: Floats) -> Floats:
    """Position and roll, pitch, yaw of poses.

    The angles turn about the fixed axes x, y, z in this order: R = Rz(yaw) Ry(pitch) Rx(roll), "sxyz" of
    tf_transformations, the rpy of a URDF, and what DROID records as ``cartesian_position``. Pitch is within
    [-pi/2, pi/2]; at its ends only yaw - roll or yaw + roll is defined, and yaw is 0.

    Args:
        poses: (..., 4, 4) homogeneous matrices, as of `chain.Chain.poses` [m].

    Returns:
        (..., 6) x, y, z [m], roll, pitch, yaw [rad].
    """
    rows = poses.reshape(-1, 4, 4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")  # documented above
        angles = Rotation.from_matrix(rows[:, :3, :3]).as_euler("xyz")
    joined: Floats = np.concatenate([rows[:, :3, 3], angles], axis=-1).reshape(*poses.shape[:-2], 6)
    return joined
