# SPDX-License-Identifier: Apache-2.0
"""What must hold of every closed loop, whether it ran over DDS or on a made-up clock.

Loops are asynchronous, one call at a time, with answers held back for a share of the time D that a chunk
lasts:

- 0.1 D: every chunk comes in time, and the arm never stops.
- 0.6 D: the next call begins when an answer has come, no sooner than 0.6 D after its capture, and is answered
  0.6 D later. The chunk before has run out by then: every chunk but the first is late, by 0.2 D or more; its
  last targets are still to come, and the arm follows them.
- 1.2 D: every chunk comes after its last target, and nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.plan import Settings
from dreamzero_ros.motion.splice import through_targets
from dreamzero_ros.motion.timeline import count_due, due_times_ns
from dreamzero_ros.motion.trajectory import Trajectory, seconds_to_ns
from dreamzero_ros.policy.rollout import State
from dreamzero_ros.sim.controller import SimJointTrajectoryController, TrajectoryCommand

ROBOTS = ("droid_franka", "agibot_g1", "yam")
SHARES = (0.1, 0.6, 1.2)
"""Added latencies, as shares of the time that a chunk lasts."""

STATUS_NS = 100_000_000
"""Time from one report of the state to the next [ns]."""
SAMPLE_NS = 1_000_000
"""Distance of the samples of the setpoint [ns]."""
ARRIVAL_NS = 10_000_000
"""Time from making a command to the controller's cycle that takes it [ns]."""
ROUNDING_S = 1e-6
"""Latencies are told as float32 [s]."""
STILL = 1e-3
"""A simulated joint that rests moves less [rad or m]."""
MOTION = Settings()


@dataclass(frozen=True)
class Answered:
    """One chunk of the policy, and the command that was made of it."""

    stamp_ns: int
    """Capture time of the frame that it answers [ns]."""
    latency_s: float
    """Capture to command [s]."""
    used: int
    """Targets in the command."""
    dropped: int
    """Leading targets that were already due."""
    targets: np.ndarray
    """(horizon, J) as the policy gave them [rad or m]."""
    command: Trajectory
    """Made of the targets; begins when it was sent."""


@dataclass(frozen=True)
class Report:
    """The state of the run at one time."""

    at_ns: int
    state: State
    reason: str
    chunks: int
    """Chunks that had come by then."""
    deadline_misses: int


@dataclass
class Loop:
    """What was seen of a run."""

    robot: Embodiment
    share: float
    """Added latency as a share of the time that a chunk lasts."""
    look_ns: int
    """Within which the rollout notices that the arm rests [ns]."""
    chunks: list[Answered]
    commands: list[Trajectory]
    """Everything that was sent, all joints together, in order."""
    reports: list[Report]
    """From the first chunk to the end of the run, one every `STATUS_NS`."""
    measured: np.ndarray
    """(N, J) joint positions from the first command on [rad or m]."""
    chunks_in_the_end: int
    """Chunks by the counter of the run."""
    misses_in_the_end: int
    """Deadline misses by the counter of the run."""

    @property
    def duration_ns(self) -> int:
        """Time that a chunk lasts [ns]."""
        return seconds_to_ns(self.robot.horizon * self.robot.dt_s)

    def limit(self, key: str) -> np.ndarray:
        """One limit of every joint by the robot file."""
        return np.array([getattr(self.robot.limits[joint], key) for joint in self.robot.command_joints])

    def gaps(self) -> list[tuple[int, int]]:
        """Times between which no trajectory was in force [ns]."""
        return [
            (old.end_ns, new.start_ns) for old, new in pairwise(self.commands) if new.start_ns > old.end_ns
        ]

    def late(self) -> list[bool]:
        """By chunk: whether it came after the one before had run out."""
        came_ns = [chunk.command.start_ns for chunk in self.chunks]
        ran_out_ns = [chunk.stamp_ns + self.duration_ns for chunk in self.chunks]
        return [False] + [came > out for came, out in zip(came_ns[1:], ran_out_ns, strict=False)]


def assert_continuous(trajectories: list[Trajectory]) -> None:
    """Each begins where the one before is at that time, with its velocity."""
    for index, (old, new) in enumerate(pairwise(trajectories)):
        for name, one, other in zip(
            ("position", "velocity"), old.sample(new.start_ns), new.sample(new.start_ns), strict=True
        ):
            np.testing.assert_allclose(other, one, atol=1e-6, err_msg=f"{name} at the start of {index + 1}")


def assert_at_rest_in_the_end(trajectory: Trajectory) -> None:
    """Silence of the sender after it means a standing arm."""
    np.testing.assert_array_equal(trajectory.velocities[-1], 0.0)


class ClosedLoopTests:
    """Judges the fixture `loop`, a `Loop`; test modules derive from it."""

    def test_every_trajectory_keeps_to_the_limits(
        self, loop: Loop, figures: Callable[[str, float], None]
    ) -> None:
        reached = [trajectory.extremes() for trajectory in loop.commands]
        assert (np.min([each.lower for each in reached], axis=0) >= loop.limit("lower") - 1e-6).all()
        assert (np.max([each.upper for each in reached], axis=0) <= loop.limit("upper") + 1e-6).all()
        velocity, acceleration = (
            (np.max([getattr(each, key) for each in reached], axis=0) / loop.limit(key)).max()
            for key in ("velocity", "acceleration")
        )
        assert velocity <= 1 + 1e-6 and acceleration <= 1 + 1e-3
        name = f"{loop.robot.name}, {loop.share} of a chunk later: largest"
        figures(f"{name} velocity [share of its limit]", velocity)
        figures(f"{name} acceleration [share of its limit]", acceleration)

    def test_the_setpoint_makes_no_step(self, loop: Loop, figures: Callable[[str, float], None]) -> None:
        """At 1 kHz, from command to command; the limit of a step is what the fastest allowed joint does."""
        way = setpoints(loop)
        steps = np.abs(np.diff(way, axis=0))
        assert (steps <= loop.limit("velocity") * SAMPLE_NS * 1e-9 * (1 + 1e-6) + 1e-9).all()
        control_step = seconds_to_ns(loop.robot.dt_s) // SAMPLE_NS
        largest = np.abs(way[control_step:] - way[:-control_step]).max()
        figures(f"{loop.robot.name}, {loop.share} of a chunk later: largest control step [rad or m]", largest)

    def test_each_trajectory_goes_on_from_the_one_before(
        self, loop: Loop, figures: Callable[[str, float], None]
    ) -> None:
        assert_continuous(loop.commands)
        for trajectory in loop.commands:
            assert_at_rest_in_the_end(trajectory)
        spliced, raw = jumps(loop)
        name = f"{loop.robot.name}, {loop.share} of a chunk later: jump at a boundary,"
        for what, jump in (("spliced", spliced), ("not spliced", raw)):
            figures(f"{name} {what} [rad or m]", jump[0])
            figures(f"{name} {what} [rad/s or m/s]", jump[1])

    def test_a_trajectory_is_in_force_unless_holding_is_reported(self, loop: Loop) -> None:
        if loop.share == SHARES[0]:
            assert not loop.gaps()
        for rest_ns, end_ns in loop.gaps():
            begin_ns = rest_ns + loop.look_ns
            said = [report.state for report in loop.reports if begin_ns < report.at_ns < end_ns]
            assert set(said) <= {State.HOLDING}
            assert len(said) >= (end_ns - begin_ns - 1) // STATUS_NS, "ends of the gap excluded"

    def test_the_robot_is_never_left_without_a_command_for_longer_than_it_bears(self, loop: Loop) -> None:
        """A robot without such a period bears silence of any length."""
        period_s = loop.robot.command_period_s or np.inf
        starts_ns = [trajectory.start_ns for trajectory in loop.commands]
        assert max(np.diff(starts_ns)) <= period_s * 1e9

    def test_deadline_misses_are_those_of_the_chunks(
        self, loop: Loop, figures: Callable[[str, float], None]
    ) -> None:
        late = loop.late()
        assert loop.chunks_in_the_end == len(loop.chunks) == len(late)
        assert loop.misses_in_the_end == sum(late)
        for report in loop.reports:
            assert report.deadline_misses == sum(late[: report.chunks])
        name = f"{loop.robot.name}, {loop.share} of a chunk later:"
        figures(f"{name} chunks", len(late))
        figures(f"{name} deadline misses", sum(late))

    def test_chunks_are_late_where_they_must_be(self, loop: Loop) -> None:
        added_s = loop.share * loop.duration_ns * 1e-9
        assert all(chunk.latency_s > added_s - ROUNDING_S for chunk in loop.chunks)
        assert len(loop.chunks) >= 3
        assert loop.late() == [False, *[loop.share != SHARES[0]] * (len(loop.chunks) - 1)]
        states = {report.state for report in loop.reports}
        reasons = {report.reason for report in loop.reports if report.state is State.HOLDING}
        if loop.share == 0.1:
            assert states == {State.FOLLOWING}
        elif loop.share == 0.6:
            assert states == {State.FOLLOWING, State.HOLDING}
            assert all("the next chunk is late" in reason for reason in reasons)
        else:
            assert states == {State.HOLDING}
            assert all("after its last target" in reason for reason in reasons)

    def test_the_next_call_comes_when_pacing_says(self, loop: Loop) -> None:
        """In time it leaves room for the latency; where there is no room it follows the answer at once."""
        duration_s, dt_s = loop.duration_ns * 1e-9, loop.robot.dt_s
        for old, new in pairwise(loop.chunks):
            interval_s = (new.stamp_ns - old.stamp_ns) * 1e-9
            came_s = (new.command.start_ns - old.command.start_ns) * 1e-9
            if loop.share == 0.1:
                assert duration_s / 2 - ROUNDING_S <= interval_s <= duration_s - new.latency_s + ROUNDING_S
            else:
                assert -ROUNDING_S < came_s - loop.share * duration_s < 3 * dt_s

    def test_every_target_has_its_fate(self, loop: Loop) -> None:
        """Dropped are those that are due before the splice: a lead, and at most a grid step, away."""
        lead_s = max(MOTION.lead_s, loop.robot.dt_s)
        for chunk in loop.chunks:
            due_ns = due_times_ns(chunk.stamp_ns, loop.robot.dt_s, loop.robot.horizon)
            came_ns = chunk.command.start_ns
            fewest, most = (
                count_due(due_ns, came_ns + seconds_to_ns(s)) for s in (lead_s, lead_s + MOTION.grid_s)
            )
            assert fewest <= chunk.dropped <= most
            assert chunk.used == loop.robot.horizon - chunk.dropped
            assert bool(chunk.used) == (loop.share < 1)

    def test_the_arm_moves_when_chunks_come_before_their_end(self, loop: Loop) -> None:
        travel = np.ptp(loop.measured, axis=0)
        if loop.share < 1:
            assert (travel / (loop.limit("upper") - loop.limit("lower")) > 0.02).all()
        else:
            assert (travel < STILL).all()


def setpoints(loop: Loop) -> np.ndarray:
    """(N, J) every `SAMPLE_NS`, of a controller that takes each command `ARRIVAL_NS` after it was made."""
    controller = SimJointTrajectoryController(loop.robot.command_joints, loop.commands[0].positions[0])
    coming = iter(loop.commands)
    command = next(coming)
    rows = []
    for now_ns in range(loop.commands[0].start_ns, loop.commands[-1].end_ns + ARRIVAL_NS, SAMPLE_NS):
        while command is not None and command.start_ns + ARRIVAL_NS <= now_ns:
            controller.submit(
                TrajectoryCommand(
                    command.start_ns,
                    command.joints,
                    np.rint(command.times_s * 1e9).astype(np.int64),
                    command.positions,
                    command.velocities,
                ),
                now_ns,
            )
            command = next(coming, None)
        rows.append(controller.update(now_ns, loop.commands[0].positions[0])[0])
    return np.array(rows)


def jumps(loop: Loop) -> tuple[np.ndarray, np.ndarray]:
    """Largest position and velocity jump between chunks: as they were sent, and as the policy gave them."""
    spliced, raw = np.zeros(2), np.zeros(2)
    for old, new in pairwise(loop.commands):
        before, after = old.sample(new.start_ns), new.sample(new.start_ns)
        spliced = np.maximum(spliced, [np.abs(b - a).max() for a, b in zip(after, before, strict=True)])
    for old, new in pairwise(loop.chunks):
        if new.used:
            at_ns = new.command.start_ns
            wanted = through_targets(
                new.stamp_ns, loop.robot.dt_s, loop.robot.command_joints, new.targets
            ).sample(at_ns)
            before = old.command.sample(at_ns)
            raw = np.maximum(raw, [np.abs(b - a).max() for a, b in zip(wanted, before, strict=True)])
    return spliced, raw


def cases(*marks: pytest.MarkDecorator) -> list:
    """Every robot with every share of latency, as parameters of a fixture."""
    return [
        pytest.param((name, share), id=f"{name}-{share}", marks=marks) for name in ROBOTS for share in SHARES
    ]
