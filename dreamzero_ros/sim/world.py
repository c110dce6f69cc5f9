# SPDX-License-Identifier: Apache-2.0
"""A kinematic world: joints follow their setpoints with a short lag, in fixed time steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Embodiment, JointLimits

Floats = NDArray[np.float64]

STEP_NS = 2_000_000
"""Length of a time step [ns]."""
TIME_CONSTANT_S = 0.02
"""Lag of a joint behind its setpoint [s]."""


class World:
    """Joints with position and velocity limits; the same calls always give the same positions.

    Args:
        start: first position of every joint, by name [rad or m].
        limits: of every joint in `start`.
        start_ns: time at which the world begins [ns].
    """

    def __init__(
        self, start: Mapping[str, float], limits: Mapping[str, JointLimits], start_ns: int = 0
    ) -> None:
        self.joints = tuple(start)
        self._index = {joint: j for j, joint in enumerate(self.joints)}
        self._lower = np.array([limits[joint].lower for joint in self.joints])
        self._upper = np.array([limits[joint].upper for joint in self.joints])
        self._fastest = np.array([limits[joint].velocity for joint in self.joints])
        self._now_ns = start_ns
        self.positions: Floats = np.clip(np.array(list(start.values())), self._lower, self._upper)
        """(J,) in the order of `joints` [rad or m]."""
        self.velocities: Floats = np.zeros(len(self.joints))
        """(J,) [rad/s or m/s]."""
        self.blocked = False
        """Whether something keeps all joints where they are."""
        self._setpoint = self.positions.copy()

    @classmethod
    def of(cls, embodiment: Embodiment, start_ns: int = 0) -> World:
        """A robot at its start pose; joints that it only reads are at zero, or at their limit next to it."""
        joints = dict.fromkeys(embodiment.state_joints + embodiment.command_joints)
        start = {joint: embodiment.start_pose.get(joint, 0.0) for joint in joints}
        return cls(start, embodiment.limits, start_ns)

    def command(self, joints: Iterable[str], setpoints: Floats) -> None:
        """Sets where some joints should be [rad or m]; beyond their limits means at their limits."""
        index = [self._index[joint] for joint in joints]
        self._setpoint[index] = np.clip(setpoints, self._lower[index], self._upper[index])

    def advance(self, now_ns: int) -> None:
        """Runs the whole steps up to a time [ns]."""
        steps = (now_ns - self._now_ns) // STEP_NS
        step_s = STEP_NS * 1e-9
        share = -np.expm1(-step_s / TIME_CONSTANT_S) / step_s
        for _ in range(steps):
            wanted = 0.0 if self.blocked else (self._setpoint - self.positions) * share
            self.velocities = np.clip(wanted, -self._fastest, self._fastest)
            self.positions = self.positions + self.velocities * step_s
        self._now_ns += max(steps, 0) * STEP_NS

    def positions_of(self, joints: Iterable[str]) -> Floats:
        """Positions of some joints, in their order [rad or m]."""
        return self.positions[[self._index[joint] for joint in joints]]

    def by_name(self) -> dict[str, float]:
        """All positions by joint name [rad or m]."""
        return dict(zip(self.joints, self.positions.tolist(), strict=True))
