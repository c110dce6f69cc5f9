# SPDX-License-Identifier: Apache-2.0
"""What the joints were told at given times, by a recording; where nobody told them, where they went.

A joint is told where to be by the newest JointTrajectory that was logged up to a time and names it. It is
sampled as joint_trajectory_controller samples it (`Trajectory::sample` and `interpolate_between_points` of
ros2_controllers): its times count from the header stamp, or from the log time where that is 0; between points
it is linear, cubic or quintic as all of them have positions, velocities or accelerations too; after the last
one it holds. Up to the first point it goes straight from where the joint was told to be, or else measured,
when the message was logged. A message without points tells the joints to stay where that is.

Joints that no command tells where to be are where later joint states say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.bag import Bag, Logged
from dreamzero_ros.evaluation.clock import LOG_CLOCK, Clock
from dreamzero_ros.evaluation.commands import commanded_joints, joint_names
from dreamzero_ros.evaluation.history import Floats, History, Ints
from dreamzero_ros.evaluation.spans import AROUND_NS
from dreamzero_ros.evaluation.streams import Kind, Stream
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.observation.intake import Intake

SLACK_NS = 1_000_000_000
"""How much later than it happened something is logged, and how far times asked for may go back [ns]."""

COMMANDS, JOINT_STATES = "commands", "joint states"
"""What the reference is."""


@dataclass(frozen=True, eq=False)
class _Command:
    """A trajectory message, as far as it concerns command joints; n of them, N points."""

    logged_ns: int
    columns: Ints
    """(n,) of the command joints."""
    begin: Floats
    """(n,) where they were told to be before."""
    times_ns: Ints
    """(N,) of the points."""
    states: tuple[Floats, ...]
    """Positions (N, n), and velocities, and accelerations, where all points have them."""

    def at(self, time_ns: int) -> Floats:
        """(n,) positions."""
        times = self.times_ns
        after = int(np.searchsorted(times, time_ns, side="right"))
        if len(times) == 0:
            return self.begin
        if after == len(times):
            last: Floats = self.states[0][-1]
            return last
        if after == 0:
            length_s = (times[0] - self.logged_ns) / 1e9
            return _between([self.begin], [self.states[0][0]], length_s, (time_ns - self.logged_ns) / 1e9)
        begin, end = ([state[index] for state in self.states] for index in (after - 1, after))
        length_s = (times[after] - times[after - 1]) / 1e9
        return _between(begin, end, length_s, (time_ns - times[after - 1]) / 1e9)


def _between(begin: Sequence[Floats], end: Sequence[Floats], T: float, s: float) -> Floats:
    """At `s`, the polynomial that meets positions, velocities, accelerations, where given, at 0 and `T`."""
    u = s / T
    q0, q1 = begin[0], end[0]
    if len(begin) == 1:
        return q0 + u * (q1 - q0)
    v0, v1 = begin[1] * T, end[1] * T
    if len(begin) == 2:
        return q0 + u * (v0 + u * (3 * (q1 - q0) - 2 * v0 - v1 + u * (2 * (q0 - q1) + v0 + v1)))
    a0, a1 = begin[2] * T * T / 2, end[2] * T * T / 2
    dq = q1 - q0
    c3 = 10 * dq - 6 * v0 - 4 * v1 - 3 * a0 + a1
    c4 = -15 * dq + 8 * v0 + 7 * v1 + 3 * a0 - 2 * a1
    c5 = 6 * dq - 3 * v0 - 3 * v1 - a0 + a1
    return q0 + u * (v0 + u * (a0 + u * (c3 + u * (c4 + u * c5))))


class Reference:
    """Reads ahead in a bag of its own; memory does not grow with the length of the bag.

    Args:
        path: The bag.
        embodiment: The robot.
        streams: Its streams, on topics of the bag.
        start_ns: First moment that is asked for, on the clock that the bag is played on [ns].
        clock: That clock.

    Raises:
        BagError: The bag cannot be read; later, while reading: it is damaged.
    """

    def __init__(
        self,
        path: Path,
        embodiment: Embodiment,
        streams: Sequence[Stream],
        start_ns: int,
        clock: Clock = LOG_CLOCK,
    ) -> None:
        self._embodiment = embodiment
        self._joints = embodiment.command_joints
        self._bag = Bag(path)
        joints_of = {controller.name: controller.joints for controller in embodiment.controllers}
        commands = [stream for stream in streams if stream.kind is Kind.COMMANDS]
        told = {s.topic: commanded_joints(self._bag, s, joints_of[s.name]) for s in commands}
        commanded = {joint for joints in told.values() for joint in joints}
        arms = set(self._joints) - set(embodiment.gripper_joints) or set(self._joints)
        self.kind = COMMANDS if commanded & arms else JOINT_STATES
        """What it is made of: commands, where there are some for any joint but grippers, or joint states."""
        self._measured = np.array([joint not in commanded for joint in self._joints])
        self._told = {s.topic: joints_of[s.name] for s in commands if told[s.topic]}
        (states_topic,) = (stream.topic for stream in streams if stream.kind is Kind.JOINT_STATES)
        self._commands: list[_Command] = []
        kept_ns = round(embodiment.horizon * embodiment.dt_s * 1e9) + 3 * SLACK_NS
        self._history = History(len(self._joints), kept_ns, round(2 * embodiment.joint_tolerance_s * 1e9))
        self._newest = np.full(len(self._joints), np.nan)
        self._clock = clock
        self._buffer = ObservationBuffer(embodiment, np.inf)
        self._intake = Intake(self._buffer, {})
        begin_ns = clock.logged(start_ns) - AROUND_NS
        self._messages = self._bag.messages({states_topic, *self._told}, begin_ns, clock.end_ns)
        self._next = next(self._messages, None)

    def close(self) -> None:
        """Closes the bag."""
        self._bag.close()

    def at(self, times_ns: Ints) -> Floats:
        """Positions (M, J) at (M,) times [rad or m]; NaN where nothing is known.

        Args:
            times_ns: Increasing, on the clock of the stamps; the first at most `SLACK_NS` before that of an
                earlier call [ns].

        Raises:
            BagError: The bag is damaged.
        """
        while self._next is not None and self._clock.at(self._next.log_ns) <= times_ns[-1] + SLACK_NS:
            self._take(self._next)
            self._next = next(self._messages, None)
        found = np.where(self._measured, self._history.at(times_ns), np.nan)
        for row, time_ns in zip(found, times_ns.tolist(), strict=True):
            self._sample(row, time_ns)
        self._forget(int(times_ns[0]) - SLACK_NS)
        return found

    def _take(self, logged: Logged) -> None:
        if logged.topic in self._told:
            self._take_command(logged)
            return
        self._intake.joint_state(logged.message, logged.topic)  # playing the same message says what is wrong
        newest, newest_of_each = self._buffer.newest_positions(), self._buffer.newest_of_each()
        if newest is None or newest_of_each is None:
            return
        self._newest = command_positions(self._embodiment, newest_of_each)
        if newest[0] != self._history.newest_ns:
            self._history.add(newest[0], command_positions(self._embodiment, newest[1]))

    def _take_command(self, logged: Logged) -> None:
        message, at_ns = logged.message, self._clock.at(logged.log_ns)
        names = joint_names(message, self._told[logged.topic])
        picked = [index for index, name in enumerate(names) if name in self._joints]
        columns = np.array([self._joints.index(names[index]) for index in picked], np.int64)
        told = np.full(len(self._joints), np.nan)
        self._sample(told, at_ns)
        begin = np.where(np.isnan(told), self._newest, told)[columns]
        start_ns = stamp_ns(message) or at_ns
        times_ns = np.array([start_ns + _duration_ns(p.time_from_start) for p in message.points], np.int64)
        states = tuple(_states(message.points, len(names), picked))
        if len(times_ns) and not states:  # velocities or efforts alone say nothing about positions
            begin, times_ns = np.full_like(begin, np.nan), times_ns[:0]
        self._commands.append(_Command(at_ns, columns, begin, times_ns, states))

    def _sample(self, row: Floats, time_ns: int) -> None:
        """Fills in (J,) what the joints are told at a time; those that were told nothing stay as they are."""
        untold = ~self._measured
        last = bisect_right(self._commands, time_ns, key=lambda command: command.logged_ns)
        for index in range(last - 1, -1, -1):
            command = self._commands[index]
            fresh = untold[command.columns]
            if fresh.any():
                row[command.columns[fresh]] = command.at(time_ns)[fresh]
                untold[command.columns] = False
            if not untold.any():
                return

    def _forget(self, before_ns: int) -> None:
        """Drops commands that others have replaced by a time."""
        replaced = np.zeros(len(self._joints), bool)
        kept: list[_Command] = []
        for command in reversed(self._commands):
            if not replaced[command.columns].all():
                kept.append(command)
            if command.logged_ns <= before_ns:
                replaced[command.columns] = True
        self._commands = kept[::-1]


def _states(points: Sequence[Any], joints: int, picked: Sequence[int]) -> Iterator[Floats]:
    """Positions, velocities and accelerations, up to the first that a point lacks."""
    for key in ("positions", "velocities", "accelerations"):
        rows = [getattr(point, key) for point in points]
        if any(len(row) != joints for row in rows):
            return
        yield np.array(rows, np.float64).reshape(len(points), joints)[:, picked]


def _duration_ns(duration: Any) -> int:
    return int(duration.sec) * 1_000_000_000 + int(duration.nanosec)
