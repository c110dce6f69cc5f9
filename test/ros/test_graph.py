# SPDX-License-Identifier: Apache-2.0
"""The whole graph in closed loop: simulated robot and policy node as processes, judged by their messages."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from closed_loop import assert_at_rest_in_the_end, assert_continuous
from robot import Robot
from ros_graph import TINY, Graph, Operator, segments

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.policy.limits import limits_of
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import trajectory_of

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
CHUNKS = 6
INSTRUCTION = "put the red cube into the bowl"
CANVAS = (96, 160, 3)
"""Two rows and two columns of the tiny model's views of 48x80."""
DREAMED = 8
"""Images that the tiny model dreams per chunk."""
LAG_S = 0.1
"""The arm is hardly ever further behind its command than it moves in this time [s]: a simulated joint lags
20 ms, a cycle of the simulation takes 10 ms, the rest is for messages on a busy machine."""
HARDLY_EVER = 0.05
"""Share of the time in which a busy machine may be later."""
BLENDED = 3
"""Targets of a chunk that blending passes by."""
NS_PER_S = 1_000_000_000


@dataclass
class Seen:
    """A run that was canceled after some chunks, and how its processes ended."""

    operator: Operator
    result: RunPolicy.Result
    canceled_after: int
    """Commands that had arrived when the run was canceled."""
    codes: dict[str, int]
    segments: set[Path]
    """Shared memory of the processes while they ran."""


@pytest.fixture(scope="module")
def seen(paced: Graph) -> Seen:
    paced.start("sim_node", autostart=True, cameras=False)
    paced.start("policy_node", autostart=True, **TINY)
    operator = Operator(paced, ROBOT, pictures=True)
    recording = operator.recording
    with Robot(paced, ROBOT, cameras_only=True):
        paced.wait(lambda: operator.ready and recording.measured, "an active policy node and joint states")
        run = operator.run(INSTRUCTION)
        paced.wait(lambda: len(recording.chunks) >= CHUNKS and operator.diagnostics, f"{CHUNKS} chunks")
        canceled_after = len(recording.commands)
        run.cancel()
        result = run.result()
        paced.spend(1.5)
        segments = paced.shared_memory()
        codes = paced.processes.stop()
    return Seen(operator, result, canceled_after, codes, segments)


def test_the_arm_is_told_to_go_on_without_a_step(seen: Seen) -> None:
    trajectories = seen.operator.trajectories()
    assert set(trajectories) == {controller.joints for controller in ROBOT.controllers}
    for commands in trajectories.values():
        assert len(commands) >= CHUNKS
        assert_continuous(commands)


def test_the_first_command_begins_where_the_arm_was(seen: Seen) -> None:
    recording = seen.operator.recording
    for joints, (first, *_) in seen.operator.trajectories().items():
        before = np.searchsorted(recording.measured_ns, first.start_ns) - 1
        measured = recording.measured[before][[recording.joints.index(joint) for joint in joints]]
        np.testing.assert_allclose(first.positions[0], measured, atol=1e-3)


def test_a_trajectory_is_in_force_all_the_time(seen: Seen) -> None:
    """A gap is where a chunk came late or images failed on a busy machine; the arm stood still in it."""
    states = [report.state for report in seen.operator.reports]
    holds = sum(new == PolicyStatus.HOLDING != old for old, new in pairwise(states))
    for commands in seen.operator.trajectories().values():
        gaps = sum(new.start_ns > old.end_ns for old, new in pairwise(commands))
        assert gaps <= seen.result.deadline_misses + holds
        for trajectory in commands:
            assert_at_rest_in_the_end(trajectory)


def test_commands_keep_to_the_limits(seen: Seen) -> None:
    limits = limits_of(ROBOT)
    for chunk in seen.operator.recording.chunks:
        assert tuple(chunk.joint_names) == ROBOT.command_joints
    for joints, commands in seen.operator.trajectories().items():
        columns = [ROBOT.command_joints.index(joint) for joint in joints]
        for trajectory in commands:
            reached = trajectory.extremes()
            assert (reached.lower >= limits.lower[columns] - 1e-6).all()
            assert (reached.upper <= limits.upper[columns] + 1e-6).all()
            assert (reached.velocity <= limits.velocity[columns] * (1 + 1e-6)).all()
            assert (reached.acceleration <= limits.acceleration[columns] * (1 + 1e-3)).all()


def commanded(commands: list[Trajectory], at_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and velocity by the newest trajectory of each instant."""
    newest = np.searchsorted([trajectory.start_ns for trajectory in commands], at_ns, side="right") - 1
    rows = [commands[index].sample(int(time_ns)) for index, time_ns in zip(newest, at_ns, strict=True)]
    return np.array([q for q, _ in rows]), np.array([v for _, v in rows])


def test_the_measured_joints_follow(seen: Seen) -> None:
    recording = seen.operator.recording
    for joints, commands in seen.operator.trajectories().items():
        at_ns = np.array(recording.measured_ns)
        after = at_ns >= commands[0].start_ns
        columns = [recording.joints.index(joint) for joint in joints]
        measured = np.array(recording.measured)[after][:, columns]
        wanted, velocity = commanded(commands, at_ns[after])
        if joints[0] not in ROBOT.gripper_joints:  # noise of an untrained model does not move a gripper
            assert np.ptp(wanted, axis=0).max() > 0.01, "the arm was not asked to move"
        bound = LAG_S * np.abs(velocity).max(axis=0) + 1e-3
        assert (np.quantile(np.abs(measured - wanted), 1 - HARDLY_EVER, axis=0) <= bound).all()


def test_chunks_are_counted_and_every_target_has_a_fate(seen: Seen) -> None:
    chunks = seen.operator.recording.chunks
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert len(chunks) == seen.result.chunks >= CHUNKS
    for chunk in chunks:
        assert chunk.used + chunk.dropped == ROBOT.horizon
        assert len(chunk.targets) == ROBOT.horizon * len(ROBOT.command_joints)
        assert chunk.instruction == INSTRUCTION
        assert chunk.step_s == ROBOT.dt_s
        assert chunk.latency_s > 0
    captures = [stamp_ns(chunk) for chunk in chunks]
    assert (np.diff(captures) > 0).all()


def test_targets_are_reached_when_they_are_due(seen: Seen) -> None:
    """Limits and blending keep the arm off them; yet a control step before and after it is further away."""
    distance = dict.fromkeys((-1, 0, 1), 0.0)
    for chunk in seen.operator.recording.chunks:
        targets = np.reshape(chunk.targets, (ROBOT.horizon, -1))
        due_ns = stamp_ns(chunk) + np.round(np.arange(1, ROBOT.horizon + 1) * ROBOT.dt_s * NS_PER_S)
        for steps in distance:
            at_ns = (due_ns + steps * ROBOT.dt_s * NS_PER_S).astype(np.int64)
            away = targets - trajectory_of(chunk.trajectory).sample(at_ns)[0]
            distance[steps] += np.abs(away[chunk.dropped + BLENDED :]).sum()
    assert min(distance, key=distance.get) == 0, distance


def test_a_chunk_message_holds_what_the_controllers_were_sent(seen: Seen) -> None:
    for chunk in seen.operator.recording.chunks:
        for joints, commands in seen.operator.trajectories().items():
            columns = [list(chunk.trajectory.joint_names).index(joint) for joint in joints]
            share = np.array([point.positions for point in chunk.trajectory.points])[:, columns]
            at_that_time = [
                trajectory.positions
                for trajectory in commands
                if trajectory.start_ns == stamp_ns(chunk.trajectory)
            ]
            assert any(np.array_equal(sent, share) for sent in at_that_time), "a stop may begin with it"


def test_the_observed_image_is_what_the_chunk_answers(seen: Seen) -> None:
    recording = seen.operator.recording
    assert [at_ns for at_ns, _ in recording.observed] == [stamp_ns(chunk) for chunk in recording.chunks]
    for _, image in recording.observed:
        assert image.shape == CANVAS
        assert image.std() > 1


def test_the_imagined_images_lie_in_the_time_of_their_chunk(seen: Seen) -> None:
    recording = seen.operator.recording
    step_ns = round(ROBOT.horizon * ROBOT.dt_s / DREAMED * NS_PER_S)
    expected = [
        stamp_ns(chunk) + (index + 1) * step_ns for chunk in recording.chunks for index in range(DREAMED)
    ]
    stamps = [at_ns for at_ns, _ in recording.imagined]
    assert len(stamps) >= DREAMED * (CHUNKS - 1)
    assert set(stamps) <= set(expected)
    assert all(image.shape == CANVAS for _, image in recording.imagined)


def test_the_status_explains_itself(seen: Seen) -> None:
    reports = seen.operator.reports
    following = [report for report in reports if report.state == PolicyStatus.FOLLOWING]
    assert following
    for report in reports:
        assert bool(report.reason) == (report.state != PolicyStatus.FOLLOWING)
    for report in following:
        assert report.embodiment == ROBOT.name
        assert "random weights" in report.policy
        assert report.instruction == INSTRUCTION
        assert list(report.cameras) == [camera.name for camera in ROBOT.cameras]
        assert len(report.stages) == len(report.latency_s) > 0
        assert report.targets_used + report.targets_dropped == ROBOT.horizon
    spent = {chunk.index: chunk.latency_s for chunk in seen.operator.recording.chunks}
    for report in following:
        assert sum(report.latency_s) == pytest.approx(spent[report.chunks - 1], abs=1e-4)
    last = reports[-1]
    assert last.state == PolicyStatus.IDLE and "canceled" in last.reason


def test_the_context_grows_with_what_was_observed(seen: Seen) -> None:
    frames = [report.context_frames for report in seen.operator.recording.statuses]
    assert frames[0] == 1
    assert max(frames) > 1


def test_diagnostics_are_published(seen: Seen) -> None:
    names = {status.name for message in seen.operator.diagnostics for status in message.status}
    assert names == {"/policy_node"}


def test_cancel_stops_softly(seen: Seen) -> None:
    assert seen.result.outcome == RunPolicy.Result.CANCELED
    assert "canceled" in seen.result.reason
    stops = seen.operator.trajectories(since=seen.canceled_after)
    recording = seen.operator.recording
    for joints, commands in stops.items():
        stop = commands[-1]
        assert_at_rest_in_the_end(stop)
        after = np.array(recording.measured_ns) > stop.end_ns + NS_PER_S // 5
        assert after.sum() > 5, "the recording ends too early"
        columns = [recording.joints.index(joint) for joint in joints]
        rest = np.array(recording.measured)[after][:, columns]
        np.testing.assert_allclose(rest, stop.positions[-1][None].repeat(len(rest), 0), atol=2e-3)
    assert set(stops) == {controller.joints for controller in ROBOT.controllers}


def test_every_process_ends_well(seen: Seen) -> None:
    assert seen.codes == {"sim_node": 0, "policy_node": 0}
    assert len(seen.segments) >= 2
    assert not [path for path in seen.segments - segments("self") if path.exists()]
