# SPDX-License-Identifier: Apache-2.0
"""A policy node whose model is shared by two processes: through its states, and when one of them is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from closed_loop import assert_at_rest_in_the_end
from lifecycle_msgs.msg import Transition
from robot import Robot
from ros_graph import TINY, Graph, Operator
from spawned import gone, meetings, ranks_of

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
INSTRUCTION = "put the red cube into the bowl"
UP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
DOWN = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)


@dataclass
class Stage:
    """A robot, and the node that commands it."""

    graph: Graph
    operator: Operator
    node: int
    """Its process id."""
    folder: Path
    """Where its ranks meet."""

    def go(self, transitions: tuple[int, ...]) -> None:
        for transition in transitions:
            assert self.operator.transition(transition)

    def rank(self) -> int:
        """Process id of the other rank."""
        (pid,) = ranks_of(self.node)
        return pid

    def assert_nothing_is_left(self, pid: int) -> None:
        assert gone(pid) and not ranks_of(self.node) and not meetings(self.folder)


@pytest.fixture
def stage(
    _this_machine_only: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("meeting")
    monkeypatch.setenv("TMPDIR", str(folder))
    with Graph(tmp_path_factory.mktemp("graph"), simulated_time=True) as graph:
        node = graph.start("policy_node", **TINY | {"device": "cpu,cpu"})
        operator = Operator(graph, ROBOT)
        with Robot(graph, ROBOT):
            yield Stage(graph, operator, node, folder)


@pytest.mark.slow
def test_a_rank_that_is_lost_in_a_run_ends_it_and_the_node_can_be_configured_anew(stage: Stage) -> None:
    operator = stage.operator
    stage.go(UP)
    assert "on 2 devices: guidance split" in operator.await_report(lambda report: True, "a report").policy
    run = operator.run(INSTRUCTION)
    operator.await_following()
    lost = stage.rank()
    os.kill(lost, signal.SIGKILL)
    result = run.result()
    assert result.outcome == RunPolicy.Result.FAULT and result.chunks >= 1
    assert "the policy failed: rank 1 on cpu was ended by SIGKILL; load the model anew" in result.reason
    operator.await_report(lambda report: report.state == PolicyStatus.IDLE, "the end of the run")
    for commands in operator.trajectories().values():
        assert_at_rest_in_the_end(commands[-1])
    stage.go(DOWN)
    stage.assert_nothing_is_left(lost)

    stage.go(UP)
    operator.run(INSTRUCTION)
    operator.await_report(lambda report: report.context_frames > 1, "a session with a past")
    used = stage.rank()
    assert set(stage.graph.processes.stop().values()) == {0}
    stage.assert_nothing_is_left(used)
