# SPDX-License-Identifier: Apache-2.0
"""What the arm was told last, what it is told next, and whether it does what it was told."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.approach import approach
from dreamzero_ros.motion.plan import Plan, plan, stop
from dreamzero_ros.motion.trajectory import Trajectory, hold
from dreamzero_ros.policy.limits import limits_of
from dreamzero_ros.policy.settings import RolloutSettings
from dreamzero_ros.policy.tracking import TrackingMonitor

NS_PER_S = 1_000_000_000

MOVED = 0.05
"""Distance of a joint of a settled arm from where it was left that means it was moved [rad or m]."""
SETTLE_NS = 300_000_000
"""Time in which an arm that was told to rest catches up with its command [ns]."""
RENEWAL_SHARE = 0.7
"""Share of the robot's command period after which a command is renewed: whoever looks may look late."""


class Execution:
    """The trajectory that is executed; every one returned here is to be sent.

    Args:
        embodiment: The robot.
        settings: See there.
    """

    def __init__(self, embodiment: Embodiment, settings: RolloutSettings) -> None:
        self._trajectory: Trajectory | None = None
        self._released = np.zeros(len(embodiment.command_joints), bool)
        self._sent_ns = 0
        self._rests_from_ns = 0
        self.describe(embodiment)
        self.apply(settings)

    def describe(self, embodiment: Embodiment) -> None:
        """The same robot with other limits or another start pose, for what is planned from now on."""
        self._embodiment = embodiment
        self._limits = limits_of(embodiment)

    def apply(self, settings: RolloutSettings) -> None:
        """Other settings, for what is planned from now on."""
        self._settings = settings
        tolerance = np.broadcast_to(settings.tracking_tolerance, len(self._embodiment.command_joints))
        self._tracking = TrackingMonitor(np.asarray(tolerance, np.float64), settings.tracking_time_s)

    def rests(self, now_ns: int) -> bool:
        """Whether the arm was told nothing, or nothing but to stay from now on."""
        return self._trajectory is None or now_ns >= self._rests_from_ns

    def follow(self, chunk: ActionChunk, measured: NDArray[np.float64], now_ns: int) -> Plan:
        """Goes on with a chunk.

        Raises:
            MotionError: The chunk must not be executed; what is executed goes on.
        """
        origin = self._origin(measured, now_ns)
        made = plan(chunk, origin, measured, now_ns, self._limits, self._settings.motion)
        self._take(made.trajectory, now_ns)
        return made

    def approach(self, measured: NDArray[np.float64], now_ns: int) -> Trajectory:
        """Moves a resting arm gently and straight in joint space to the start pose.

        Raises:
            MotionError: The way cannot be planned.
        """
        joints = self._embodiment.command_joints
        goal = np.array([self._embodiment.start_pose[joint] for joint in joints])
        origin = self._origin(measured, now_ns)
        begin = measured if origin is None else origin.sample(now_ns)[0]
        share = self._settings.approach_share
        return self._take(approach(joints, begin, goal, now_ns, self._limits, share), now_ns)

    def stop(self, now_ns: int) -> Trajectory | None:
        """Stops softly; None when the arm rests."""
        if self._trajectory is None or self.rests(now_ns):
            return None
        return self._take(stop(self._trajectory, now_ns, self._limits, self._settings.motion), now_ns)

    def renew(self, now_ns: int) -> Trajectory | None:
        """The same motion or hold once more, where the robot gives way when commands cease; else None."""
        period_s = self._embodiment.command_period_s
        if self._trajectory is None or period_s is None:
            return None
        if now_ns - self._sent_ns < RENEWAL_SHARE * period_s * NS_PER_S:
            return None
        if self.rests(now_ns):
            end, _ = self._trajectory.sample(now_ns)
            return self._take(hold(self._trajectory.joints, end, now_ns), now_ns)
        return self._take(self._trajectory.window(now_ns, self._trajectory.end_ns), now_ns)

    def release(self, joints: Collection[str], measured: NDArray[np.float64]) -> None:
        """Some joints are not where they were told to be: others command them, or their controller holds.

        They are told to stay where they are; the next motion begins where they then are measured.

        Args:
            joints: Names of the joints.
            measured: (J,) positions of the command joints [rad or m].
        """
        self._released |= np.isin(self._embodiment.command_joints, list(joints))
        if self._trajectory is not None:
            self._trajectory = self._settled(self._trajectory, measured)

    def away(self, stamp_ns: int, measured: NDArray[np.float64]) -> str:
        """Which joint is not where it was told to be, in words; empty when all are, or none was told.

        Args:
            stamp_ns: Time of the measurement [ns, ROS clock].
            measured: (J,) positions of the command joints [rad or m].
        """
        if self._settings.dry_run or self._trajectory is None:
            return ""
        return self._tracking.away(self._trajectory, stamp_ns, measured)

    def forgive(self) -> None:
        """Forgets how long joints have been away."""
        self._tracking.clear()

    def _take(self, trajectory: Trajectory, now_ns: int) -> Trajectory:
        if not self._settings.dry_run:
            self._trajectory, self._sent_ns = trajectory, now_ns
            moving = np.flatnonzero(trajectory.velocities.any(axis=1))
            if len(moving):
                self._rests_from_ns = int(trajectory.points_ns[moving[-1] + 1])
            else:
                self._rests_from_ns = min(self._rests_from_ns, now_ns)
        return trajectory

    def _origin(self, measured: NDArray[np.float64], now_ns: int) -> Trajectory | None:
        """What the next trajectory goes on from; None: from the measured joints.

        A resting arm is where its last trajectory ended, up to the error of its controller: going on from
        there keeps the setpoint continuous. Further away, something else has moved it.
        """
        if self._trajectory is not None:
            self._trajectory = self._settled(self._trajectory, measured)
        self._released[:] = False
        if self._trajectory is not None and now_ns > self._rests_from_ns + SETTLE_NS:
            end, _ = self._trajectory.sample(now_ns)
            if np.abs(end - measured).max() > MOVED:
                self._trajectory = None
        return self._trajectory

    def _settled(self, trajectory: Trajectory, measured: NDArray[np.float64]) -> Trajectory:
        """The trajectory, with the released joints at rest where they are."""
        if not self._released.any():
            return trajectory
        return dataclasses.replace(
            trajectory,
            positions=np.where(self._released, measured, trajectory.positions),
            velocities=np.where(self._released, 0.0, trajectory.velocities),
        )
