# SPDX-License-Identifier: Apache-2.0
"""The closed loop by goals of actions: robots move as by topic, and controllers that refuse are heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from robot import Robot
from ros_graph import Graph, Operator, set_parameters

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import NS_PER_S, trajectory_of

pytestmark = pytest.mark.ros

pytest.importorskip("control_msgs.action", reason="control_msgs is not installed")

ROBOTS = {"droid_franka": {"hand": "gripper_command"}, "yam": {}}
"""Parameters of each robot file."""
CHUNKS = 6
LAG_S = 0.1
"""A joint is hardly ever further behind its command than it moves in this time [s], as by topic."""
HARDLY_EVER = 0.05
"""Share of the time in which a busy machine may be later."""
GRIPPER_SHARE = 0.5
"""A gripper goes at least so far as it is asked."""
TOLERANCE = 0.02
"""Path tolerance of the controllers, tighter than that of the policy node [rad or m]."""
SILENCE_PERIODS = 10
"""Command periods in which each arm is to hear something, on a busy machine too."""
QUIET_S = 0.3
"""In this time all controllers have said what there was to say [s]."""
STILL = 2e-3
"""A joint that rests moves less [rad or m]."""


@dataclass
class Loop:
    """A simulated robot, and a policy node that moves it by goals."""

    graph: Graph
    robot: Embodiment
    operator: Operator

    def set_fault(self, **faults: object) -> None:
        set_parameters(self.graph, self.operator, "sim_node", **faults)

    def await_stop(self, *parts: str) -> None:
        report = self.operator.await_report(
            lambda report: report.state == PolicyStatus.STOPPED, "STOPPED", reports=100
        )
        for part in parts:
            assert part in report.reason


@contextmanager
def started(folder: Path, name: str, parameters: dict[str, str], output: str) -> Iterator[Loop]:
    """A robot by its file and the parameters of it, commanded by topic or by action."""
    both: dict[str, object] = {"embodiment": name, "autostart": True}
    if parameters:
        both["embodiment_parameters"] = [f"{key}={value}" for key, value in parameters.items()]
    robot = load(name, parameters)
    with Graph(folder, simulated_time=True) as graph, Robot(graph, robot, cameras_only=True):
        graph.start("sim_node", cameras=False, **both)
        graph.start("policy_node", policy="wave", command_output=output, **both)
        operator = Operator(graph, robot)
        graph.wait(lambda: operator.ready and operator.recording.measured, "an active policy node")
        yield Loop(graph, robot, operator)
        assert graph.processes.stop() == {"sim_node": 0, "policy_node": 0}


@pytest.fixture(scope="module", params=["droid_franka", pytest.param("yam", marks=pytest.mark.slow)])
def loop(
    request: pytest.FixtureRequest, _this_machine_only: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loop]:
    parameters = ROBOTS[request.param]
    with started(tmp_path_factory.mktemp("graph"), request.param, parameters, "action") as made:
        yield made


@contextmanager
def running(loop: Loop) -> Iterator[None]:
    """A run in which the robot moves; ends with the block."""
    chunks = len(loop.operator.recording.chunks)
    run = loop.operator.run("wave")
    try:
        loop.graph.wait(lambda: len(loop.operator.recording.chunks) > chunks, "a chunk")
        yield
    finally:
        run.cancel()
        assert run.result().outcome == RunPolicy.Result.CANCELED
        loop.graph.spend(1.0)


def test_the_robot_does_what_the_chunks_say_and_stops_softly(
    loop: Loop, figures: Callable[[str, float], None]
) -> None:
    recording, robot = loop.operator.recording, loop.robot
    with running(loop):
        loop.graph.wait(lambda: len(recording.chunks) >= CHUNKS, f"{CHUNKS} chunks")
    assert not recording.commands, "a controller was commanded by topic"
    assert all(report.state != PolicyStatus.STOPPED for report in loop.operator.reports)

    trajectories = [trajectory_of(chunk.trajectory) for chunk in recording.chunks]
    starts_ns = [trajectory.start_ns for trajectory in trajectories]
    at_ns, measured = np.array(recording.measured_ns), np.array(recording.measured)
    during = (at_ns >= starts_ns[0]) & (at_ns < starts_ns[-1])
    newest = np.searchsorted(starts_ns, at_ns[during], side="right") - 1
    wanted, speed = (
        np.array(
            [trajectories[index].sample(int(t))[part] for index, t in zip(newest, at_ns[during], strict=True)]
        )
        for part in (0, 1)
    )
    followers = [entry.joints for entry in robot.controllers if entry.type == "joint_trajectory"]
    columns = [robot.command_joints.index(joint) for joints in followers for joint in joints]
    error = np.abs(measured[during] - wanted)[:, columns]
    bound = LAG_S * np.abs(speed).max(axis=0)[columns] + 1e-3
    figures(f"{robot.name} by action: largest distance from the command [rad or m]", error.max())
    assert np.ptp(wanted[:, columns], axis=0).max() > 0.1, "the robot was not asked to move"
    assert (np.quantile(error, 1 - HARDLY_EVER, axis=0) <= bound).all()
    grippers = [robot.command_joints.index(joint) for joint in robot.gripper_joints]
    assert (
        np.ptp(measured[during][:, grippers], axis=0) > GRIPPER_SHARE * np.ptp(wanted[:, grippers], axis=0)
    ).all()
    rest = measured[at_ns > at_ns[-1] - NS_PER_S // 4]
    assert (np.ptp(rest, axis=0) < STILL).all()


@pytest.mark.usefixtures("_this_machine_only")
def test_a_run_begins_once_the_controllers_are_there(tmp_path: Path) -> None:
    robot = load("droid_franka")
    with Graph(tmp_path, simulated_time=True) as graph, Robot(graph, robot, cameras_only=True):
        graph.start("policy_node", policy="wave", command_output="action", autostart=True)
        operator = Operator(graph, robot)
        graph.wait(lambda: operator.ready, "an active policy node")
        run = operator.run("wave")
        missing = "panda_arm_controller/follow_joint_trajectory has no server: start the controller"
        report = operator.await_report(lambda report: missing in report.reason, missing)
        assert report.state == PolicyStatus.WAITING
        waiting = len(operator.reports)
        graph.start("sim_node", cameras=False, autostart=True)
        operator.await_following()
        states = {report.state for report in operator.reports[waiting:]}
        assert states == {PolicyStatus.WAITING, PolicyStatus.FOLLOWING}
        run.cancel()
        assert run.result().outcome == RunPolicy.Result.CANCELED


def test_a_rejection_stops_the_run_in_words(loop: Loop) -> None:
    with running(loop):
        loop.set_fault(reject_goals=True)
        loop.await_stop("_controller/", "rejected a goal", "reset service")
        loop.set_fault(reject_goals=False)
        assert loop.operator.reset().success
        loop.operator.await_following()


def test_an_abort_stops_the_run_in_the_words_of_the_controller(loop: Loop) -> None:
    with running(loop):
        loop.set_fault(blocked=True, path_tolerance=TOLERANCE)
        loop.await_stop("PATH_TOLERANCE_VIOLATED", "path tolerance violation", "clear the way")
        loop.set_fault(blocked=False, path_tolerance=0.0)
        loop.graph.spend(QUIET_S)
        assert loop.operator.reset().success
        loop.operator.await_following()


def test_a_robot_whose_controllers_hold_stays_there(loop: Loop) -> None:
    """Whatever blocked it may be gone: a stop from the setpoint of before would be a push."""
    recording = loop.operator.recording
    with running(loop):
        loop.graph.spend(1.0)
        loop.set_fault(blocked=True, path_tolerance=TOLERANCE)
        loop.await_stop("PATH_TOLERANCE_VIOLATED")
        loop.graph.spend(QUIET_S)
        first = len(recording.measured)
        loop.set_fault(blocked=False, path_tolerance=0.0)
        loop.graph.spend(1.0)
        arms = ~np.isin(loop.robot.command_joints, loop.robot.gripper_joints)  # fingers stay within tolerance
        assert (np.ptp(recording.measured[first:], axis=0)[arms] < STILL).all()


@pytest.mark.usefixtures("_this_machine_only")
def test_arms_by_topic_go_on_holding_when_a_gripper_refuses(tmp_path: Path) -> None:
    """Motors that are told nothing for longer than the command period give way, and the arm falls."""
    with started(tmp_path, "yam", {"hand": "gripper_command"}, "topic") as loop, running(loop):
        loop.set_fault(reject_goals=True)
        loop.await_stop("rejected a goal")
        loop.graph.spend(QUIET_S)
        first = len(loop.operator.recording.commands)
        loop.graph.spend(SILENCE_PERIODS * loop.robot.command_period_s)
        commanded = {tuple(message.joint_names) for message in loop.operator.recording.commands[first:]}
        arms = {entry.joints for entry in loop.robot.controllers if entry.type == "joint_trajectory"}
        assert commanded == arms
