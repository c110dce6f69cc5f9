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
PHASES_PER_STEP = 8
"""How finely the arm is looked for on the way of a chunk, per control step."""


class WavePolicy(Policy):
    """Moves every joint out from where the session began and back, over and over.

    At phase s a joint that began at q0 is at q0 + swing (1 - cos(2 pi s / period)) / 2: it sets off from
    rest, towards the further end of its range, and never leaves its limits. The periods of the joints differ.
    A chunk begins at the phase at which the measured joints are on the way of the chunk before, whatever the
    clock says: an arm that is slowed down, or lags, is asked to go on from where it is. Each chunk as a whole
    is off by a random distance, as those of a model are.

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
        self._grippers = np.isin(embodiment.command_joints, embodiment.gripper_joints)
        self._share = np.where(self._grippers, GRIPPER_SHARE, ARM_SHARE)
        self._begin: NDArray[np.float64] | None = None
        self._phase_s = 0.0

    def reset(self) -> None:
        """The next frame says where the motion begins."""
        self._begin = None

    def infer(self, frame: Frame) -> ActionChunk:
        """The motion of one horizon, from the phase at which the joints were measured."""
        positions = command_positions(self._embodiment, frame.positions)
        if self._begin is None:
            self._begin, self._phase_s = np.clip(positions, self._lower, self._upper), 0.0
        else:
            self._phase_s = self._phase_at(self._begin, positions)
        dt_s, horizon = self._embodiment.dt_s, self._embodiment.horizon
        phases_s: NDArray[np.float64] = self._phase_s + dt_s * np.arange(1.0, horizon + 1)
        swing = self._swing(self._begin)
        off = self._noise * swing * self._random.uniform(-1, 1, len(swing))
        targets = self._begin + swing * self._out(phases_s) + off
        return ActionChunk(
            stamp_ns=frame.stamp_ns,
            dt_s=dt_s,
            joints=self._embodiment.command_joints,
            targets=np.clip(targets, self._lower, self._upper),
        )

    def _phase_at(self, begin: NDArray[np.float64], positions: NDArray[np.float64]) -> float:
        """Phase of the last chunk [s] at which its motion is nearest to (J,) measured positions.

        Grippers are left out where there are other joints: they stop at what they grasp.
        """
        dt_s, horizon = self._embodiment.dt_s, self._embodiment.horizon
        phases_s = self._phase_s + np.linspace(0, horizon * dt_s, PHASES_PER_STEP * horizon + 1)
        swing = self._swing(begin)
        looked_at = (swing != 0) & (self._grippers.all() | ~self._grippers)
        shares = (positions - begin)[looked_at] / swing[looked_at]
        distances = np.square(self._out(phases_s)[:, looked_at] - shares).sum(axis=1)
        return float(phases_s[np.argmin(distances)])

    def _out(self, phases_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far out the joints are at (N,) phases [s], as shares of their swings, (N, J) from 0 to 1."""
        out: NDArray[np.float64] = (1 - np.cos(2 * np.pi * phases_s[:, None] / self._periods_s)) / 2
        return out

    def _swing(self, begin: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far the joints go from where they began, (J,) [rad or m]."""
        up, down = self._upper - begin, self._lower - begin
        further = np.where(up >= -down, up, down)
        swing: NDArray[np.float64] = np.clip(self._share * further, -self._largest_swing, self._largest_swing)
        return swing
