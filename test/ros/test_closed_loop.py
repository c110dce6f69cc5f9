# SPDX-License-Identifier: Apache-2.0
"""Each robot in closed loop for a minute, with policies from fast to hopelessly slow, judged by its messages.

Asynchronous, one call at a time, with answers held back for a share of the time D that a chunk lasts:

- 0.1 D: every chunk comes in time, and the arm never stops.
- 0.6 D: the next call begins when an answer has come, no sooner than 0.6 D after its capture, and is answered
  0.6 D later. The chunk before has run out by then: every chunk but the first is late, by 0.2 D or more; its
  last targets are still to come, and the arm follows them.
- 1.2 D: every chunk comes after its last target, and nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import pytest
from ros_graph import Graph, Operator, assert_at_rest_in_the_end, assert_continuous
from sim_time import STEP_NS, SimTime

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.plan import Settings
from dreamzero_ros.motion.splice import through_targets
from dreamzero_ros.motion.timeline import count_due, due_times_ns
from dreamzero_ros.motion.trajectory import Trajectory, seconds_to_ns
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.interfaces import Chunk, PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import trajectory_of
from dreamzero_ros.sim.controller import SimJointTrajectoryController, TrajectoryCommand

pytestmark = pytest.mark.ros

ROBOTS = ("droid_franka", "agibot_g1", "yam")
SHARES = (0.1, 0.6, 1.2)
RUN_S = 60
"""Simulated time of a run [s]."""
PATIENCE_S = 600
"""Longest real time that a run may take [s]; machines that run tests may be slow."""
SAMPLE_NS = 1_000_000
"""Distance of the samples of the setpoint [ns]."""
LOOK_NS = 30_000_000
"""Time passes in steps of 10 ms and the node looks every 20 ms: by then it knows that the arm rests [ns]."""
STATUS_NS = 100_000_000
"""From one status to the next [ns]."""
ROUNDING_S = 1e-6
"""Latencies are told as float32 [s]."""
STILL = 1e-3
"""A simulated joint that rests moves less [rad or m]."""
MOTION = Settings()


@dataclass
class Loop:
    """What was seen of a run."""

    robot: Embodiment
    share: float
    """Added latency as a share of the time that a chunk lasts."""
    operator: Operator
    result: RunPolicy.Result
    commands: list[Trajectory]
    """Of all joints together, in order."""

    @property
    def duration_ns(self) -> int:
        """Time that a chunk lasts."""
        return seconds_to_ns(self.robot.horizon * self.robot.dt_s)

    @property
    def chunks(self) -> list[Chunk]:
        return self.operator.recording.chunks

    @property
    def reports(self) -> list[PolicyStatus]:
        """From the first chunk to the end of the run."""
        return [
            report
            for report in self.operator.reports
            if report.chunks and report.state not in (PolicyStatus.IDLE, PolicyStatus.INACTIVE)
        ]

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
        came_ns = [stamp_ns(chunk.trajectory) for chunk in self.chunks]
        ran_out_ns = [stamp_ns(chunk) + self.duration_ns for chunk in self.chunks]
        return [False] + [came > out for came, out in zip(came_ns[1:], ran_out_ns, strict=False)]


@pytest.fixture(scope="module", params=list(product(ROBOTS, SHARES)), ids=lambda pair: f"{pair[0]}-{pair[1]}")
def loop(
    request: pytest.FixtureRequest, _this_machine_only: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loop]:
    name, share = request.param
    robot = load(name)
    held_back = {"policy": "wave", "added_latency_s": share * robot.horizon * robot.dt_s}
    both = {"embodiment": name, "autostart": True, "use_sim_time": True}
    with Graph(tmp_path_factory.mktemp("graph")) as graph:
        graph.start("sim_node", cameras=False, **both)
        graph.start("policy_node", **held_back, **both)
        clock = SimTime(graph, robot)
        operator = Operator(graph, robot)
        graph.wait(lambda: operator.ready and operator.recording.measured, "an active policy node")
        end_ns = clock.now_ns + seconds_to_ns(RUN_S)
        run = operator.run("wave", time_limit_s=RUN_S)
        graph.wait(lambda: clock.now_ns >= end_ns, f"{RUN_S} s of simulated time", PATIENCE_S)
        result = run.result()
        end_ns = clock.now_ns + seconds_to_ns(1)
        graph.wait(lambda: clock.now_ns >= end_ns, "the arm to rest")
        assert graph.processes.stop() == {"sim_node": 0, "policy_node": 0}
        yield Loop(robot, share, operator, result, merged(robot, operator))


def merged(robot: Embodiment, operator: Operator) -> list[Trajectory]:
    """The shares of the controllers put together again; every controller was sent the same times."""
    sent = operator.trajectories()
    shares = [sent[controller.joints] for controller in robot.controllers]
    joints = [joint for controller in robot.controllers for joint in controller.joints]
    columns = [joints.index(joint) for joint in robot.command_joints]
    whole = []
    for parts in zip(*shares, strict=True):
        assert len({part.start_ns for part in parts}) == 1
        for part in parts:
            np.testing.assert_array_equal(part.times_s, parts[0].times_s)
        q, v = (
            np.hstack([getattr(part, key) for part in parts])[:, columns]
            for key in ("positions", "velocities")
        )
        whole.append(Trajectory(parts[0].start_ns, robot.command_joints, parts[0].times_s, q, v))
    return whole


def setpoints(loop: Loop) -> np.ndarray:
    """(N, J) every `SAMPLE_NS`, of a controller that each command reaches a cycle after it was made."""
    controller = SimJointTrajectoryController(loop.robot.command_joints, loop.commands[0].positions[0])
    coming = iter(loop.commands)
    command = next(coming)
    rows = []
    for now_ns in range(loop.commands[0].start_ns, loop.commands[-1].end_ns + STEP_NS, SAMPLE_NS):
        while command is not None and command.start_ns + STEP_NS <= now_ns:
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


def test_the_run_lasts_as_long_as_it_should(loop: Loop) -> None:
    assert loop.result.outcome == RunPolicy.Result.SUCCEEDED, loop.result.reason
    running = [stamp_ns(report) for report in loop.operator.reports if report.instruction]
    assert running[-1] - running[0] == pytest.approx(RUN_S * 1e9, abs=3 * STATUS_NS)


def test_every_trajectory_keeps_to_the_limits(loop: Loop, figures: Callable[[str, float], None]) -> None:
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


def test_the_setpoint_makes_no_step(loop: Loop, figures: Callable[[str, float], None]) -> None:
    """At 1 kHz, from command to command; the limit of a step is what the fastest allowed joint does in it."""
    way = setpoints(loop)
    steps = np.abs(np.diff(way, axis=0))
    assert (steps <= loop.limit("velocity") * SAMPLE_NS * 1e-9 * (1 + 1e-6) + 1e-9).all()
    control_step = seconds_to_ns(loop.robot.dt_s) // SAMPLE_NS
    largest = np.abs(way[control_step:] - way[:-control_step]).max()
    figures(f"{loop.robot.name}, {loop.share} of a chunk later: largest control step [rad or m]", largest)


def test_each_trajectory_goes_on_from_the_one_before(
    loop: Loop, figures: Callable[[str, float], None]
) -> None:
    assert_continuous(loop.commands)
    for trajectory in loop.commands:
        assert_at_rest_in_the_end(trajectory)
    spliced, raw = jumps(loop)
    name = f"{loop.robot.name}, {loop.share} of a chunk later: jump at a boundary,"
    for what, jump in (("spliced", spliced), ("not spliced", raw)):
        figures(f"{name} {what} [rad or m]", jump[0])
        figures(f"{name} {what} [rad/s or m/s]", jump[1])


def jumps(loop: Loop) -> tuple[np.ndarray, np.ndarray]:
    """Largest position and velocity jump between chunks: as they were sent, and as the policy gave them."""
    spliced, raw = np.zeros(2), np.zeros(2)
    for old, new in pairwise(loop.commands):
        before, after = old.sample(new.start_ns), new.sample(new.start_ns)
        spliced = np.maximum(spliced, [np.abs(b - a).max() for a, b in zip(after, before, strict=True)])
    for old, new in pairwise(loop.chunks):
        if new.used:
            at_ns = stamp_ns(new.trajectory)
            before, after = trajectory_of(old.trajectory).sample(at_ns), wanted(new).sample(at_ns)
            raw = np.maximum(raw, [np.abs(b - a).max() for a, b in zip(after, before, strict=True)])
    return spliced, raw


def wanted(chunk: Chunk) -> Trajectory:
    """The chunk as the policy gave it."""
    targets = np.reshape(chunk.targets, (-1, len(chunk.joint_names)))
    return through_targets(stamp_ns(chunk), chunk.step_s, tuple(chunk.joint_names), targets)


def test_a_trajectory_is_in_force_unless_holding_is_reported(loop: Loop) -> None:
    if loop.share == SHARES[0]:
        assert not loop.gaps()
    for rest_ns, end_ns in loop.gaps():
        begin_ns = rest_ns + LOOK_NS
        said = [report.state for report in loop.reports if begin_ns < stamp_ns(report) < end_ns]
        assert set(said) <= {PolicyStatus.HOLDING}
        assert len(said) >= (end_ns - begin_ns - 1) // STATUS_NS, "ends of the gap excluded"


def test_the_robot_is_never_left_without_a_command_for_longer_than_it_bears(loop: Loop) -> None:
    period_s = loop.robot.command_period_s
    if period_s is None:
        pytest.skip(f"{loop.robot.name}: its commands may cease")
    starts_ns = [trajectory.start_ns for trajectory in loop.commands]
    assert max(np.diff(starts_ns)) <= period_s * 1e9


def test_deadline_misses_are_those_of_the_chunks(loop: Loop, figures: Callable[[str, float], None]) -> None:
    late = loop.late()
    assert [chunk.index for chunk in loop.chunks] == list(range(len(late)))
    assert loop.result.chunks == len(late)
    assert loop.result.deadline_misses == sum(late)
    for report in loop.reports:
        assert report.deadline_misses == sum(late[: report.chunks])
    name = f"{loop.robot.name}, {loop.share} of a chunk later:"
    figures(f"{name} chunks", len(late))
    figures(f"{name} deadline misses", sum(late))


def test_chunks_are_late_where_they_must_be(loop: Loop) -> None:
    added_s = loop.share * loop.duration_ns * 1e-9
    assert all(chunk.latency_s > added_s - 1e-6 for chunk in loop.chunks)
    expected = [loop.share != SHARES[0]] * (len(loop.chunks) - 1)
    assert loop.late() == [False, *expected]
    states = {report.state for report in loop.reports}
    reasons = {report.reason for report in loop.reports if report.state == PolicyStatus.HOLDING}
    if loop.share == 0.1:
        assert states == {PolicyStatus.FOLLOWING}
    elif loop.share == 0.6:
        assert states == {PolicyStatus.FOLLOWING, PolicyStatus.HOLDING}
        assert all("the next chunk is late" in reason for reason in reasons)
    else:
        assert states == {PolicyStatus.HOLDING}
        assert all("after its last target" in reason for reason in reasons)


def test_the_next_call_comes_when_pacing_says(loop: Loop) -> None:
    """In time it leaves room for the latency; where there is no room it follows the answer at once."""
    duration_s, dt_s = loop.duration_ns * 1e-9, loop.robot.dt_s
    for old, new in pairwise(loop.chunks):
        interval_s = (stamp_ns(new) - stamp_ns(old)) * 1e-9
        waited_s = (stamp_ns(new.trajectory) - stamp_ns(old.trajectory)) * 1e-9 - loop.share * duration_s
        if loop.share == 0.1:
            assert duration_s / 2 - ROUNDING_S <= interval_s <= duration_s - new.latency_s + ROUNDING_S
        else:
            assert -ROUNDING_S < waited_s < 3 * dt_s


def test_every_target_has_its_fate(loop: Loop) -> None:
    """Dropped are those that are due before the splice, which is a lead, and at most a grid step, away."""
    lead_s = max(MOTION.lead_s, loop.robot.dt_s)
    for chunk in loop.chunks:
        due_ns = due_times_ns(stamp_ns(chunk), loop.robot.dt_s, loop.robot.horizon)
        came_ns = stamp_ns(chunk.trajectory)
        fewest, most = (
            count_due(due_ns, came_ns + seconds_to_ns(s)) for s in (lead_s, lead_s + MOTION.grid_s)
        )
        assert fewest <= chunk.dropped <= most
        assert chunk.used == loop.robot.horizon - chunk.dropped
        assert bool(chunk.used) == (loop.share < 1)


def test_the_arm_moves_when_chunks_come_before_their_end(loop: Loop) -> None:
    recording = loop.operator.recording
    after = np.array(recording.measured_ns) >= loop.commands[0].start_ns
    travel = np.ptp(np.array(recording.measured)[after], axis=0)
    if loop.share < 1:
        assert (travel / (loop.limit("upper") - loop.limit("lower")) > 0.02).all()
    else:
        assert (travel < STILL).all()
