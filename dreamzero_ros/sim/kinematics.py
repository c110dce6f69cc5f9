# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a simple serial arm are, for pictures: no particular robot, but every joint counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Embodiment, PointMapping

Floats = NDArray[np.float64]

ARM_JOINTS = 3
"""State groups with at least so many joints are drawn as arms."""
ARM_SPACING_M = 0.62
"""Distance of the bases of neighbouring arms [m]."""
SHOULDER_M = 0.33
"""Height of the first pitch joint over the table [m]."""
LINKS_M = (0.31, 0.29, 0.10)
"""Length of upper arm, forearm and wrist [m]."""
NEUTRAL_RAD = (0.35, 1.65, 1.1416)
"""Pitch of shoulder, elbow and wrist at the start pose [rad]; they sum to pi: the gripper points down."""
FINGER_TRAVEL_M = 0.04
"""Way of each finger between closed and open [m]."""
UP = np.array([0.0, 0.0, 1.0])


def rotation(axis: int, angle: float) -> Floats:
    """Rotation matrix (3, 3) about x, y or z (0, 1, 2)."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[j, i], matrix[i, j] = s, -s
    return matrix


@dataclass(frozen=True, eq=False)
class ArmPose:
    """An arm at one instant; the table top is z = 0."""

    points: Floats
    """(5, 3) base, shoulder, elbow, wrist, flange [m]."""
    axes: Floats
    """(3, 3) axis of the pitch joint at shoulder, elbow and wrist, one a row."""
    hand: Floats
    """(3, 3) columns: the back of the hand, facing the base at rest; across the fingers; out."""
    opening: float
    """0 closed, 1 open."""


@dataclass(frozen=True)
class Arm:
    """One arm of the robot: joints in order from the base, and the gripper that belongs to it."""

    joints: tuple[str, ...]
    start_rad: tuple[float, ...]
    """Positions that are drawn as the neutral pose."""
    base: tuple[float, float, float]
    """Where it stands [m]."""
    gripper: tuple[str, PointMapping] | None
    """Joint and its mapping with the points open and closed."""

    def pose(self, positions: Mapping[str, float]) -> ArmPose:
        """The pose at some joint positions, by name [rad]."""
        turned = [positions[joint] - start for joint, start in zip(self.joints, self.start_rad, strict=True)]
        neutral = iter(NEUTRAL_RAD)
        lengths = iter(LINKS_M)
        matrix, point = np.eye(3), np.array(self.base) + SHOULDER_M * UP
        points, axes = [np.array(self.base), point], []
        for axis, angle in zip(joint_axes(len(turned)), turned, strict=True):
            if axis == 2:
                matrix = matrix @ rotation(2, angle)
                continue
            axes.append(matrix[:, 1])
            matrix = matrix @ rotation(1, next(neutral) + angle)
            point = point + matrix[:, 2] * next(lengths)
            points.append(point)
        while len(points) < 5:  # an arm with fewer joints keeps its wrist straight
            axes.append(matrix[:, 1])
            matrix = matrix @ rotation(1, next(neutral))
            point = point + matrix[:, 2] * next(lengths)
            points.append(point)
        return ArmPose(np.array(points), np.array(axes), matrix, self._opening(positions))

    def _opening(self, positions: Mapping[str, float]) -> float:
        if self.gripper is None:
            return 0.5
        joint, mapping = self.gripper
        at = dict(zip(mapping.names, mapping.robot, strict=True))
        return float(np.clip((positions[joint] - at["closed"]) / (at["open"] - at["closed"]), 0.0, 1.0))


def arms_of(embodiment: Embodiment) -> tuple[Arm, ...]:
    """The arms of a robot, left to right in model order; the n-th gripper belongs to the n-th arm."""
    fields = [field for field in embodiment.state if len(field.joints) >= ARM_JOINTS]
    grippers: list[tuple[str, PointMapping] | None] = [
        (field.joints[0], field.mapping) for field in embodiment.state if field.is_gripper and field.mapping
    ]
    grippers += [None] * len(fields)
    middle = (len(fields) - 1) / 2
    return tuple(
        Arm(
            joints=field.joints,
            start_rad=tuple(embodiment.start_pose.get(joint, 0.0) for joint in field.joints),
            base=(0.0, (middle - n) * ARM_SPACING_M, 0.0),
            gripper=grippers[n],
        )
        for n, field in enumerate(fields)
    )


def joint_axes(joints: int) -> tuple[int, ...]:
    """Axis of every joint, 1 for pitch and 2 for roll along the arm, at most three of them pitch."""
    if joints >= 7:
        return (2, 1, 2, 1, 2, 1) + (2,) * (joints - 6)
    return ((2, 1, 1, 1) + (2,) * joints)[:joints]
