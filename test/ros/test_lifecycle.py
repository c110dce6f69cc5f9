# SPDX-License-Identifier: Apache-2.0
"""The policy node through its states, runs and services, with a robot played by the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from closed_loop import assert_at_rest_in_the_end, assert_continuous
from lifecycle_msgs.msg import Transition
from robot import JOINT_STATES, Robot
from ros_graph import ARRIVAL_S, TINY, Graph, Operator

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.processes import Processes

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
INSTRUCTION = "put the red cube into the bowl"
RENAMED, NAMESPACE, CAMERA = "brain", "/left", "wrist_image_left"
MOVED = {CAMERA: "/shared/wrist", JOINT_STATES: "/shared/joint_states"}
"""Topics that are remapped for the renamed node."""

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
SHUTDOWN = Transition.TRANSITION_ACTIVE_SHUTDOWN
GOING_ON = {PolicyStatus.FOLLOWING, PolicyStatus.HOLDING}
"""States of a run that nobody stopped; on a busy machine chunks come late."""


@dataclass
class Stage:
    """Processes that are up, and a robot that both policy nodes could command."""

    graph: Graph
    operator: Operator
    """Of the node with its default names."""
    renamed: Operator
    """Of the node with another name, in a namespace, with remapped topics."""


@pytest.fixture(scope="module")
def stage(paced: Graph) -> Iterator[Stage]:
    paced.start("policy_node", **TINY)
    camera = next(camera for camera in ROBOT.cameras if camera.name == CAMERA)
    remappings = [f"__ns:={NAMESPACE}", f"__node:={RENAMED}"]
    remappings += [f"{camera.topic}:={MOVED[CAMERA]}", f"{JOINT_STATES}:={MOVED[JOINT_STATES]}"]
    words = [word for remapping in remappings for word in ("-r", remapping)]
    paced.start("policy_node", *words, name=RENAMED, policy="hold", autostart=True)
    operator = Operator(paced, ROBOT)
    renamed = Operator(paced, ROBOT, RENAMED, NAMESPACE)
    with Robot(paced, ROBOT), Robot(paced, ROBOT, NAMESPACE, MOVED):
        yield Stage(paced, operator, renamed)


def bring(operator: Operator, state: str) -> None:
    """Takes the node to a primary state by transitions that must succeed."""
    ways = {
        ("unconfigured", "inactive"): [CONFIGURE],
        ("unconfigured", "active"): [CONFIGURE, ACTIVATE],
        ("inactive", "active"): [ACTIVATE],
        ("inactive", "unconfigured"): [CLEANUP],
        ("active", "inactive"): [DEACTIVATE],
        ("active", "unconfigured"): [DEACTIVATE, CLEANUP],
    }
    now = operator.lifecycle()
    for number in ways.get((now, state), []):
        assert operator.transition(number)
    assert operator.lifecycle() == state


def says(operator: Operator, state: int, words: str) -> PolicyStatus:
    """Waits for a status with a state and words in its reason."""
    return operator.await_report(lambda report: report.state == state and words in report.reason, words)


def await_past(operator: Operator) -> None:
    """Waits for a chunk of a session that remembers earlier ones."""
    operator.await_report(
        lambda report: report.state in GOING_ON and report.context_frames > 1, "a session with a past"
    )


@pytest.fixture
def active(stage: Stage) -> Operator:
    """The node active, without a run."""
    bring(stage.operator, "active")
    return stage.operator


def test_there_and_back_and_there_again(stage: Stage) -> None:
    operator = stage.operator
    bring(operator, "unconfigured")
    for _ in range(2):
        says(operator, PolicyStatus.INACTIVE, "not configured")
        bring(operator, "inactive")
        report = says(operator, PolicyStatus.INACTIVE, "configured, not activated")
        assert report.embodiment == ROBOT.name and "tiny" in report.policy
        bring(operator, "active")
        says(operator, PolicyStatus.IDLE, "no run")
        bring(operator, "inactive")
        says(operator, PolicyStatus.INACTIVE, "deactivated")
        bring(operator, "unconfigured")
    assert not operator.recording.commands, "nothing moves without a run"


def test_a_run_on_an_inactive_node_is_refused_in_words(stage: Stage) -> None:
    for state, words in (("unconfigured", "not configured"), ("inactive", "not active")):
        bring(stage.operator, state)
        result = stage.operator.run(INSTRUCTION).result()
        assert result.outcome == RunPolicy.Result.FAULT
        assert words in result.reason and "activate it first" in result.reason


def test_deactivate_in_a_run_stops_softly_and_tells_the_client(stage: Stage, active: Operator) -> None:
    run = active.run(INSTRUCTION)
    active.await_following()
    before = len(active.recording.commands)
    assert active.transition(DEACTIVATE)
    result = run.result()
    assert result.outcome == RunPolicy.Result.FAULT and "deactivated" in result.reason
    assert result.chunks >= 1
    stage.graph.wait(lambda: len(active.recording.commands) > before, "the stop")
    stage.graph.spend(ARRIVAL_S)
    for commands in active.trajectories().values():
        assert_continuous(commands)
        assert_at_rest_in_the_end(commands[-1])
    sent = len(active.recording.commands)
    stage.graph.spend(0.7)
    assert len(active.recording.commands) == sent, "an inactive node commands nothing"
    assert active.transition(CLEANUP)


def test_pause_holds_and_resume_goes_on(stage: Stage, active: Operator) -> None:
    assert not active.pause(True).success
    run = active.run(INSTRUCTION)
    active.await_following()
    assert active.pause(True).success
    says(active, PolicyStatus.PAUSED, "paused by the operator")
    stage.graph.spend(ARRIVAL_S)
    sent, chunks = len(active.recording.commands), len(active.recording.chunks)
    stage.graph.spend(1.0)
    assert len(active.recording.commands) == sent and len(active.recording.chunks) == chunks
    for commands in active.trajectories().values():
        assert commands[-1].end_ns < stage.graph.now_ns()
    assert active.pause(False).success
    report = active.await_following()
    assert report.deadline_misses == 0, "the operator's pause is no chunk that came late"
    refused = active.pause(False)
    assert not refused.success and "not paused" in refused.message
    run.cancel()
    assert run.result().outcome == RunPolicy.Result.CANCELED
    for commands in active.trajectories().values():
        assert_continuous(commands)


def test_reset_begins_a_session_while_the_arm_goes_on(active: Operator) -> None:
    run = active.run(INSTRUCTION)
    await_past(active)
    assert active.reset().success
    first = len(active.reports)
    active.await_report(lambda report: report.context_frames == 1, "a session that begins")
    assert {report.state for report in active.reports[first:]} <= GOING_ON
    run.cancel()
    run.result()


def test_another_instruction_takes_over_in_flight(active: Operator) -> None:
    run = active.run(INSTRUCTION)
    await_past(active)
    first = len(active.reports)
    assert active.set_instruction("leave it").success
    active.await_report(
        lambda report: (
            report.state == PolicyStatus.FOLLOWING
            and report.context_frames == 1
            and report.instruction == "leave it"
        ),
        "a new session",
    )
    assert {report.state for report in active.reports[first:]} <= GOING_ON
    assert {chunk.instruction for chunk in active.recording.chunks[-2:]} >= {"leave it"}
    run.cancel()
    run.result()


def test_a_newer_goal_takes_over(active: Operator) -> None:
    old = active.run(INSTRUCTION)
    active.await_following()
    before = len(active.recording.commands)
    new = active.run("leave it")
    result = old.result()
    assert result.outcome == RunPolicy.Result.PREEMPTED and "newer goal" in result.reason
    report = active.await_report(lambda report: report.instruction == "leave it", "the newer goal")
    active.await_following()
    assert report.chunks <= 1
    new.cancel()
    assert new.result().outcome == RunPolicy.Result.CANCELED
    for commands in active.trajectories(since=before).values():
        assert_continuous(commands)


def test_the_time_limit_ends_the_run_as_a_success(active: Operator) -> None:
    result = active.run(INSTRUCTION, time_limit_s=2).result()
    assert result.outcome == RunPolicy.Result.SUCCEEDED and "time limit" in result.reason
    assert result.chunks >= 1
    says(active, PolicyStatus.IDLE, "time limit")
    for commands in active.trajectories().values():
        assert_at_rest_in_the_end(commands[-1])


def test_namespace_name_and_topics_can_be_remapped(stage: Stage) -> None:
    operator = stage.renamed
    run = operator.run(INSTRUCTION)
    report = operator.await_following()
    assert not np.isnan(report.image_age_s).any()
    run.cancel()
    assert run.result().outcome == RunPolicy.Result.CANCELED
    assert set(operator.trajectories()) == {controller.joints for controller in ROBOT.controllers}
    found = [name for name, namespace in operator.get_node_names_and_namespaces() if namespace == NAMESPACE]
    assert sorted(found) == sorted([RENAMED, f"{RENAMED}_cameras", "robot", "recorder"])


def test_the_run_command_waits_until_the_node_is_active(stage: Stage, tmp_path: Path) -> None:
    bring(stage.operator, "inactive")
    with Processes(stage.graph.environment, tmp_path) as processes:
        words = [INSTRUCTION, "--time-limit", "4"]
        process = processes.start("run", "dreamzero_ros.ros.run_command", words)
        said = processes.log("run")
        stage.graph.wait(lambda: "inactive: " in said.read_text(), "the command to say why it waits")
        bring(stage.operator, "active")
        stage.graph.wait(lambda: process.poll() is not None, "the end of the command")
        assert process.returncode == 0
        text = said.read_text()
    lines = [line.partition("] ")[2] for line in text.splitlines()]
    assert "following" in lines and any(line.startswith("waiting for the first chunk") for line in lines)
    assert "run ended: the time limit was reached" in text


def test_every_process_ends_well_from_every_state(stage: Stage) -> None:
    """One is shut down by a person in a run and then by a signal, the other by a signal in a run."""
    runs = []
    for operator in (stage.operator, stage.renamed):
        bring(operator, "active")
        runs.append(operator.run(INSTRUCTION))
        operator.await_following()
    assert stage.operator.transition(SHUTDOWN)
    assert stage.operator.lifecycle() == "finalized"
    codes = stage.graph.processes.stop()
    assert codes == {"policy_node": 0, RENAMED: 0}
    for run in runs:
        result = run.result()
        assert result.outcome == RunPolicy.Result.FAULT and "deactivated" in result.reason


@pytest.mark.parametrize(
    ("node", "parameter", "code", "words"),
    [
        ("footage_node", "autostart:=true", 1, "parameter folder is empty"),
        ("sim_node", "joint_state_rate_hz:=5", 2, "joint_state_rate_hz"),
    ],
)
def test_a_node_that_cannot_start_ends_with_an_error(
    paced: Graph, tmp_path: Path, node: str, parameter: str, code: int, words: str
) -> None:
    """Nobody would look at the status of a node that was to start by itself."""
    with Processes(paced.environment, tmp_path) as processes:
        process = processes.start(node, f"dreamzero_ros.ros.{node}", ["--ros-args", "-p", parameter])
        assert process.wait(60) == code
        assert words in processes.log(node).read_text()
