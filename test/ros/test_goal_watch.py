# SPDX-License-Identifier: Apache-2.0
"""Goals of others on the controllers: seen, told from ours, canceled, and forgotten with their server."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from action_msgs.msg import GoalInfo, GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.node import Node
from ros_graph import Graph
from unique_identifier_msgs.msg import UUID

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.ros.goal_watch import GoalWatch
from dreamzero_ros.ros.qos import LATCHED

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka", {"hand": "gripper_command"})
ARM, HAND = (controller.name for controller in ROBOT.controllers)
ACTIONS = {ARM: f"{ARM}/follow_joint_trajectory", HAND: f"{HAND}/gripper_cmd"}
EXECUTING, SUCCEEDED = GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_SUCCEEDED
ACTIVE = (GoalStatus.STATUS_ACCEPTED, EXECUTING, GoalStatus.STATUS_CANCELING)
ENDED = (SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)
LOOKS_S = 2.5
"""Longer than a watch takes to look at its servers again [s]."""


def goal_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


OURS, MOVEIT, OTHER = map(goal_id, (1, 2, 3))


def status(goals: dict[bytes, int]) -> GoalStatusArray:
    entries = [
        GoalStatus(goal_info=GoalInfo(goal_id=UUID(uuid=np.frombuffer(key, np.uint8))), status=value)
        for key, value in goals.items()
    ]
    return GoalStatusArray(status_list=entries)


class Server:
    """What an action server says of its goals, and what it was asked to cancel."""

    def __init__(self, node: Node, controller: str) -> None:
        self.goals: dict[bytes, int] = {}
        self.canceled: list[tuple[bytes, int]] = []
        """Ids, and times in the requests; 0 means that goals before a time are not meant [s]."""
        self.code = CancelGoal.Response.ERROR_NONE
        self._node = node
        name = f"{ACTIONS[controller]}/_action"
        self._publisher = node.create_publisher(GoalStatusArray, f"{name}/status", LATCHED)
        self._service = node.create_service(CancelGoal, f"{name}/cancel_goal", self._cancel)

    def say(self, goals: dict[bytes, int]) -> None:
        self.goals = goals
        self._publisher.publish(status(goals))

    def close(self) -> None:
        self._node.destroy_publisher(self._publisher)
        self._node.destroy_service(self._service)

    def _cancel(self, request: CancelGoal.Request, response: CancelGoal.Response) -> CancelGoal.Response:
        asked = bytes(request.goal_info.goal_id.uuid)
        self.canceled.append((asked, request.goal_info.stamp.sec))
        response.return_code = self.code
        if self.code == CancelGoal.Response.ERROR_NONE:
            self.say(self.goals | {asked: GoalStatus.STATUS_CANCELED})
        return response


@dataclasses.dataclass
class Stage:
    """A watch, and the servers that it watches."""

    graph: Graph
    node: Node
    watch: GoalWatch
    servers: dict[str, Server]
    ours: set[bytes]
    changes: list[tuple[str, ...]]
    """What the watch has told, change by change."""

    def await_foreign(self, *controllers: str) -> None:
        self.graph.wait(lambda: self.watch.foreign() == controllers, f"foreign goals on {controllers}", 30)


@pytest.fixture
def stage(graph: Graph) -> Iterator[Stage]:
    watcher, robot = (Node(name, context=graph.context) for name in ("watcher", "robot"))
    for node in (watcher, robot):
        graph.executor.add_node(node)
    ours: set[bytes] = set()
    changes: list[tuple[str, ...]] = []
    watch = GoalWatch(watcher, ROBOT, lambda: ours, lambda: changes.append(watch.foreign()))
    servers = {name: Server(robot, name) for name in ACTIONS}
    yield Stage(graph, robot, watch, servers, ours, changes)
    watch.close()
    for node in (watcher, robot):
        graph.executor.remove_node(node)
        node.destroy_node()


@pytest.mark.parametrize("active", ACTIVE)
def test_an_active_goal_of_somebody_else_is_seen_until_it_ends(stage: Stage, active: int) -> None:
    stage.servers[HAND].say({MOVEIT: active})
    stage.await_foreign(HAND)
    stage.servers[ARM].say({MOVEIT: active})
    stage.await_foreign(ARM, HAND)
    stage.servers[HAND].say({MOVEIT: SUCCEEDED})
    stage.await_foreign(ARM)
    stage.servers[ARM].say({MOVEIT: GoalStatus.STATUS_ABORTED})
    stage.await_foreign()
    assert stage.changes == [(HAND,), (ARM, HAND), (ARM,), ()]


def test_our_goals_are_not_foreign_and_stay_ours_when_the_result_outruns_the_status(stage: Stage) -> None:
    stage.ours.add(OURS)
    stage.servers[ARM].say({OURS: EXECUTING})
    stage.graph.spend(0.5)
    stage.ours.clear()
    stage.servers[ARM].say({OURS: EXECUTING, OTHER: SUCCEEDED})
    stage.graph.spend(0.5)
    assert not stage.changes
    stage.servers[ARM].say({OURS: EXECUTING, MOVEIT: EXECUTING})
    stage.await_foreign(ARM)


def test_a_goal_from_before_the_watch_is_seen(graph: Graph, stage: Stage) -> None:
    stage.servers[ARM].say({MOVEIT: EXECUTING})
    late = Node("late", context=graph.context)
    graph.executor.add_node(late)
    watch = GoalWatch(late, ROBOT, tuple, lambda: None)
    try:
        graph.wait(watch.foreign, "the goal")
    finally:
        watch.close()
        graph.executor.remove_node(late)
        late.destroy_node()


def test_preempting_cancels_the_goals_of_others_alone(stage: Stage) -> None:
    stage.ours.add(OURS)
    stage.servers[ARM].say({OURS: EXECUTING, MOVEIT: EXECUTING, OTHER: EXECUTING, goal_id(4): SUCCEEDED})
    stage.await_foreign(ARM)
    stage.watch.preempt()
    stage.await_foreign()
    assert sorted(stage.servers[ARM].canceled) == [(MOVEIT, 0), (OTHER, 0)]
    assert stage.servers[ARM].goals[OURS] == EXECUTING
    assert not stage.servers[HAND].canceled


def test_a_goal_that_is_not_canceled_stays_foreign(stage: Stage) -> None:
    stage.servers[ARM].code = CancelGoal.Response.ERROR_REJECTED
    stage.servers[ARM].say({MOVEIT: EXECUTING})
    stage.await_foreign(ARM)
    stage.watch.preempt()
    stage.graph.wait(lambda: stage.servers[ARM].canceled, "the request to cancel")
    stage.graph.spend(LOOKS_S)
    assert stage.watch.foreign() == (ARM,)


def test_a_server_that_is_gone_is_forgotten_and_one_that_is_silent_is_not(stage: Stage) -> None:
    """A status that is never taken back would lock the arm for good."""
    for server in stage.servers.values():
        server.say({MOVEIT: EXECUTING})
    stage.await_foreign(ARM, HAND)
    stage.graph.spend(LOOKS_S)
    assert stage.watch.foreign() == (ARM, HAND)
    stage.servers[HAND].close()
    stage.await_foreign(ARM)
    assert stage.changes == [(ARM,), (ARM, HAND), (ARM,)], "told without need"


CRASH = """
import sys
import rclpy
from action_msgs.msg import GoalInfo, GoalStatus, GoalStatusArray
from dreamzero_ros.ros.qos import LATCHED
rclpy.init()
node = rclpy.create_node("controller")
publisher = node.create_publisher(GoalStatusArray, sys.argv[1], LATCHED)
publisher.publish(GoalStatusArray(status_list=[GoalStatus(status=GoalStatus.STATUS_EXECUTING)]))
rclpy.spin(node)
"""


@pytest.mark.slow
def test_a_server_that_was_restarted_after_a_crash_is_not_the_one_that_had_the_goal(
    graph: Graph, stage: Stage
) -> None:
    """The new one is there, and has said nothing yet, when the crash of the old one is noticed."""
    stage.servers[ARM].close()
    topic = f"/{ACTIONS[ARM]}/_action/status"
    process = subprocess.Popen([sys.executable, "-c", CRASH, topic], env=os.environ | graph.environment)
    try:
        stage.await_foreign(ARM)
        stage.graph.spend(LOOKS_S)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    stage.servers[ARM] = Server(stage.node, ARM)
    stage.graph.spend(0.5)
    assert stage.watch.foreign() == (ARM,), "so soon nobody can know"
    stage.await_foreign()
    stage.servers[ARM].say({OTHER: EXECUTING})
    stage.await_foreign(ARM)


@given(
    goals=st.dictionaries(
        st.integers(0, 9).map(goal_id), st.sampled_from(ACTIVE + ENDED + (GoalStatus.STATUS_UNKNOWN,))
    ),
    ours=st.sets(st.integers(0, 9).map(goal_id)),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
def test_foreign_is_what_is_active_and_not_ours(
    stage: Stage, goals: dict[bytes, int], ours: set[bytes]
) -> None:
    for server in stage.servers.values():  # forgets the example before; the hand, foreign so far, comes last
        server.say({})
    stage.await_foreign()
    stage.ours.clear()
    stage.ours |= ours
    stage.servers[ARM].say(goals)
    stage.servers[HAND].say({goal_id(99): EXECUTING})
    others = {key for key, value in goals.items() if value in ACTIVE} - ours
    stage.await_foreign(*([ARM] if others else []), HAND)
