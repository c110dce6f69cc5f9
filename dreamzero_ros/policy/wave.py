# SPDX-License-Identifier: Apache-2.0
"""A policy without a model that moves every joint gently: the last step before the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.policy.base import Policy

PERIODS_S = (5.0, 8.0)
"""Shortest and longest time in which a joint goes out and back [s]."""
ARM_SHARE, GRIPPER_SHARE = 0.2, 1.0
"""How far a joint goes, as a share of the way to the further end of its range: grippers open and close."""
RATE_SHARE = 0.3
"""Share of the velocity and acceleration limits that the motion needs at most."""
NOISE_SHARE = 0.05
"""How far chunks disagree, as a share of the way that a joint goes."""


class WavePolicy(Policy):
    """Moves every joint out from where the session began and back, over and over.

    A joint that was at q0 at time t0 is asked to be at q0 + swing (1 - cos(2 pi (t - t0) / period)) / 2: it
    sets off from rest, towards the further end of its range, and never leaves its limits. The periods of
    the joints differ. Each chunk as a whole is off by a random distance, as those of a model are.

    Args:
        embodiment: The robot.
        seed: Of the periods and of the distances.
        noise: Largest distance by which a chunk is off, as a share of `swing`.
    """

    name = "wave"
    uses_history = False

    def __init__(self, embodiment: Embodiment, seed: int, noise: float = NOISE_SHARE) -> None:
        self._embodiment = embodiment
        self._noise = noise
        self._random = np.random.default_rng(seed)
        limits = [embodiment.limits[joint] for joint in embodiment.command_joints]
        self._lower = np.array([limit.lower for limit in limits])
        self._upper = np.array([limit.upper for limit in limits])
        self._periods_s = self._random.uniform(*PERIODS_S, len(limits))
        velocity = np.array([limit.velocity for limit in limits])
        acceleration = np.array([limit.acceleration for limit in limits])
        turns = 2 * np.pi / self._periods_s  # [rad/s]
        self._largest_swing = 2 * RATE_SHARE * np.minimum(velocity / turns, acceleration / turns**2)
        grippers = np.isin(embodiment.command_joints, embodiment.gripper_joints)
        self._share = np.where(grippers, GRIPPER_SHARE, ARM_SHARE)
        self._begin: tuple[int, NDArray[np.float64]] | None = None

    def reset(self) -> None:
        """The next frame says where and when the motion begins."""
        self._begin = None

    def infer(self, frame: Frame) -> ActionChunk:
        """The motion at the times for which the targets are due."""
        if self._begin is None:
            positions = command_positions(self._embodiment, frame.positions)
            self._begin = frame.stamp_ns, np.clip(positions, self._lower, self._upper)
        begin_ns, begin = self._begin
        dt_s, horizon = self._embodiment.dt_s, self._embodiment.horizon
        times_s = (frame.stamp_ns - begin_ns) * 1e-9 + dt_s * np.arange(1, horizon + 1)
        swing = self._swing(begin)
        out = (1 - np.cos(2 * np.pi * times_s[:, None] / self._periods_s)) / 2
        off = self._noise * swing * self._random.uniform(-1, 1, len(swing))
        return ActionChunk(
            stamp_ns=frame.stamp_ns,
            dt_s=dt_s,
            joints=self._embodiment.command_joints,
            targets=np.clip(begin + swing * out + off, self._lower, self._upper),
        )

    def _swing(self, begin: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far the joints go from where they began, (J,) [rad or m]."""
        up, down = self._upper - begin, self._lower - begin
        further = np.where(up >= -down, up, down)
        swing: NDArray[np.float64] = np.clip(self._share * further, -self._largest_swing, self._largest_swing)
        return swing
