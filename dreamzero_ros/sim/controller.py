# SPDX-License-Identifier: Apache-2.0
"""A joint_trajectory_controller as the Humble, Jazzy and Kilted branches of ros2_controllers run it.

It forgets the old trajectory when a new one arrives: there is no splice. Before the first point it
interpolates from the state on arrival; with points in the past the setpoint steps to wherever the new one is
by then. A sender that is not continuous is therefore seen as a jump here, as on a robot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VELOCITY_EPSILON = float(np.finfo(np.float32).eps)
"""Speed below which the last point counts as at rest [rad/s or m/s]."""


class TrajectoryRejectedError(ValueError):
    """The reason for which the controller does not take a trajectory, in the controller's words."""


@dataclass(frozen=True, eq=False)
class TrajectoryCommand:
    """What the controller reads of a trajectory_msgs/JointTrajectory."""

    stamp_ns: int
    """Header stamp [ns]; 0 starts at once."""
    joints: tuple[str, ...]
    """Names of the J columns, in any order."""
    times_ns: Ints
    """(N,) time_from_start of the points [ns]."""
    positions: Floats
    """(N, J) [rad or m]."""
    velocities: Floats | None
    """(N, J) [rad/s or m/s]; None interpolates straight lines between the positions."""


class SimJointTrajectoryController:
    """Takes trajectories and gives the setpoint of every instant; time is whatever the caller says it is.

    Args:
        joints: the J joints that it commands.
        positions: (J,) setpoint before the first trajectory [rad or m].
        interpolate_from_desired_state: whether the way to the first point begins at the last setpoint and its
            velocity, or at the measured positions at rest.
        allow_nonzero_velocity_at_trajectory_end: whether the last point may move.
    """

    def __init__(
        self,
        joints: tuple[str, ...],
        positions: Floats,
        *,
        interpolate_from_desired_state: bool = True,
        allow_nonzero_velocity_at_trajectory_end: bool = True,
    ) -> None:
        self.joints = joints
        self._from_desired = interpolate_from_desired_state
        self._may_end_moving = allow_nonzero_velocity_at_trajectory_end
        self._setpoint = (np.array(positions, dtype=np.float64), np.zeros(len(joints)))
        self._arrived: TrajectoryCommand | None = None
        self._active: TrajectoryCommand | None = None
        self._start_ns = 0
        self._anchor_ns = 0
        self._anchor = self._setpoint

    def submit(self, command: TrajectoryCommand, now_ns: int) -> None:
        """Takes a trajectory in place of whatever is active; the next `update` begins it.

        Raises:
            TrajectoryRejectedError: with the reason; the active trajectory goes on.
        """
        self._validate(command, now_ns)
        columns = [command.joints.index(joint) for joint in self.joints]
        self._arrived = TrajectoryCommand(
            stamp_ns=command.stamp_ns,
            joints=self.joints,
            times_ns=command.times_ns,
            positions=command.positions[:, columns],
            velocities=None if command.velocities is None else command.velocities[:, columns],
        )

    def hold(self, positions: Floats) -> None:
        """Drops the trajectory and stays at (J,) positions [rad or m], as after an abort."""
        self._active = self._arrived = None
        self._setpoint = (np.array(positions, dtype=np.float64), np.zeros(len(self.joints)))

    def update(self, now_ns: int, measured: Floats) -> tuple[Floats, Floats]:
        """Setpoint at one time.

        Args:
            now_ns: not before that of the previous call [ns].
            measured: (J,) positions in the order of `joints` [rad or m].

        Returns:
            Positions and velocities (J,).
        """
        if self._arrived is not None:
            self._active, self._arrived = self._arrived, None
            self._start_ns = self._active.stamp_ns or now_ns
            self._anchor_ns = now_ns
            self._anchor = self._setpoint if self._from_desired else (measured, np.zeros_like(measured))
        if self._active is not None:
            self._setpoint = self._sample(self._active, now_ns)
        return self._setpoint

    def remaining_ns(self, now_ns: int) -> int | None:
        """Time to the last point of the newest trajectory [ns], not positive after it; None without one."""
        newest = self._arrived or self._active
        if newest is None:
            return None
        start_ns = (newest.stamp_ns or now_ns) if newest is self._arrived else self._start_ns
        return start_ns + int(newest.times_ns[-1]) - now_ns

    def _sample(self, active: TrajectoryCommand, now_ns: int) -> tuple[Floats, Floats]:
        since_start = now_ns - self._start_ns
        following = int(np.searchsorted(active.times_ns, since_start, side="right"))
        if following == len(active.times_ns):
            return active.positions[-1], np.zeros(len(self.joints))
        next_v = None if active.velocities is None else active.velocities[following]
        v: Floats | None
        if following == 0:
            begin_ns, (q, v) = self._anchor_ns - self._start_ns, self._anchor
        else:
            begin_ns, q = int(active.times_ns[following - 1]), active.positions[following - 1]
            v = None if active.velocities is None else active.velocities[following - 1]
        T = (int(active.times_ns[following]) - begin_ns) * 1e-9
        return _interpolate(q, v, active.positions[following], next_v, T, (since_start - begin_ns) * 1e-9)

    def _validate(self, command: TrajectoryCommand, now_ns: int) -> None:
        if len(command.joints) != len(self.joints):
            raise TrajectoryRejectedError(
                "Joints on incoming trajectory don't match the controller joints: "
                f"expected {len(self.joints)}, got {len(command.joints)}."
            )
        for joint in command.joints:
            if joint not in self.joints:
                raise TrajectoryRejectedError(
                    f"Incoming joint {joint} doesn't match the controller's joints."
                )
        if not len(command.times_ns):
            raise TrajectoryRejectedError("Empty trajectory received.")
        end_ns = command.stamp_ns + int(command.times_ns[-1])
        if command.stamp_ns != 0 and end_ns < now_ns:
            raise TrajectoryRejectedError(
                f"Received trajectory with non-zero start time ({command.stamp_ns * 1e-9:f}) "
                f"that ends in the past ({end_ns * 1e-9:f})"
            )
        late = np.flatnonzero(np.diff(command.times_ns) <= 0)
        if len(late):
            i = int(late[0])
            raise TrajectoryRejectedError(
                f"Time between points {i} and {i + 1} is not strictly increasing, it is "
                f"{command.times_ns[i] * 1e-9:f} and {command.times_ns[i + 1] * 1e-9:f} respectively"
            )
        self._validate_values(command)

    def _validate_values(self, command: TrajectoryCommand) -> None:
        expected = (len(command.times_ns), len(self.joints))
        for name, values in (("positions", command.positions), ("velocities", command.velocities)):
            if values is not None and values.shape != expected:
                raise TrajectoryRejectedError(
                    f"Mismatch between joint_names size ({expected[1]}) and {name}: "
                    f"expected {expected}, got {values.shape}."
                )
        if command.velocities is None or self._may_end_moving:
            return
        moving = np.flatnonzero(np.abs(command.velocities[-1]) > VELOCITY_EPSILON)
        if len(moving):
            j = int(moving[0])
            raise TrajectoryRejectedError(
                f"Velocity of last trajectory point of joint {command.joints[j]} is not zero: "
                f"{command.velocities[-1, j]:.15f}"
            )


def _interpolate(
    q0: Floats, v0: Floats | None, q1: Floats, v1: Floats | None, T: float, s: float
) -> tuple[Floats, Floats]:
    """Cubic between points with velocities, a straight line without; `s` seconds into a segment of `T`."""
    if v0 is None or v1 is None:
        v = (q1 - q0) / T
        return q0 + v * s, v
    u = s / T
    q = (
        (1 + 2 * u) * (1 - u) ** 2 * q0
        + u * (1 - u) ** 2 * T * v0
        + u * u * (3 - 2 * u) * q1
        - u * u * (1 - u) * T * v1
    )
    v = 6 * u * (1 - u) * (q1 - q0) / T + (1 - u) * (1 - 3 * u) * v0 + u * (3 * u - 2) * v1
    return q, v
