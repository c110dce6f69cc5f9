# SPDX-License-Identifier: Apache-2.0
"""What this folder reads of an action chunk, and the refusal of one that must not be executed."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.settings import Settings
from dreamzero_ros.motion.trajectory import Floats, Trajectory


class Chunk(Protocol):
    """What this folder reads of an action chunk."""

    @property
    def stamp_ns(self) -> int:
        """Capture time of the frame it answers [ns, ROS clock]."""

    @property
    def dt_s(self) -> float:
        """Control step; target i is due at stamp + (i + 1) dt [s]."""

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the J columns."""

    @property
    def targets(self) -> Floats:
        """(A, J) absolute joint positions [rad or m]."""


def check(
    chunk: Chunk, executing: Trajectory | None, measured: Floats, limits: Limits, settings: Settings
) -> None:
    """Refuses what cannot be executed at all.

    Raises:
        MotionError: targets or measured positions that are not finite, or joints that do not match.
    """
    J = len(chunk.joints)
    if chunk.targets.ndim != 2 or chunk.targets.shape[1] != J or not len(chunk.targets):
        raise MotionError(
            f"chunk: expected targets of shape (horizon, {J} joints), got {chunk.targets.shape}"
        )
    if measured.shape != (J,) or limits.lower.shape != (J,):
        raise MotionError(
            f"chunk: {J} joints, but measured positions of shape {measured.shape} "
            f"and limits of shape {limits.lower.shape}"
        )
    if settings.grippers is not None and settings.grippers.shape != (J,):
        raise MotionError(f"chunk: {J} joints, but a mask of grippers of shape {settings.grippers.shape}")
    if executing is not None and executing.joints != chunk.joints:
        raise MotionError(f"chunk: joints {chunk.joints}, but {executing.joints} are being executed")
    bad = np.argwhere(~np.isfinite(chunk.targets))
    if len(bad):
        i, j = bad[0]
        raise MotionError(
            f"chunk: target {i} of {chunk.joints[j]} is {chunk.targets[i, j]}, "
            f"{len(bad)} of {chunk.targets.size} values are not finite"
        )
    if not np.isfinite(measured).all():
        j = int(np.argmin(np.isfinite(measured)))
        raise MotionError(f"measured joints: {chunk.joints[j]} is {measured[j]}")


def check_start(
    first: Floats, joints: tuple[str, ...], measured: Floats, start_tolerance: float | Floats
) -> None:
    """Refuses a first target (J,) that is further from the measured joints (J,) than tolerated.

    Raises:
        MotionError: with the joint that is furthest beyond.
    """
    tolerance = np.broadcast_to(np.asarray(start_tolerance, dtype=np.float64), measured.shape)
    distance = np.abs(first - measured)
    if (distance > tolerance).any():
        j = int(np.argmax(distance - tolerance))
        raise MotionError(
            f"chunk: first target of {joints[j]} is {first[j]:.3f}, measured {measured[j]:.3f}: "
            f"{distance[j]:.3f} apart, {tolerance[j]:.3f} allowed"
        )
