# SPDX-License-Identifier: Apache-2.0
"""The policy node beside a MoveIt set-up: goals of others on its controllers, and chunks that collide."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from robot import Robot
from ros_graph import Graph, Operator
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Controller
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import trajectory_of

pytest.importorskip("control_msgs", reason="needs control_msgs: make test, or its package of ROS")
pytest.importorskip("moveit_msgs", reason="needs moveit_msgs: make test, or its package of ROS")
from control_msgs.action import FollowJointTrajectory
from moveit_msgs.msg import ContactInformation
from moveit_msgs.srv import GetStateValidity

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
ARM, HAND = ROBOT.controllers
HOME = np.array([ROBOT.start_pose[joint] for joint in ROBOT.command_joints])
LONG_S = 60
"""Duration of a goal that does not end by itself."""
JOINT, WALL = 0, 0.15
"""Where this command joint is beyond this position [rad], the arm is in the wall."""
FREE_CHUNKS = 2
"""Chunks before the one that collides."""


class MoveIt(Node):
    """Plays move_group: executes a goal on the arm, and knows a wall."""

    def __init__(self, graph: Graph) -> None:
        super().__init__("move_group", **graph.node_options)
        self._graph = graph
        self._arm = ActionClient(self, FollowJointTrajectory, f"{ARM.name}/follow_joint_trajectory")
        self.create_service(GetStateValidity, "check_state_validity", self._judge)
        graph.executor.add_node(self)

    def execute(self) -> ClientGoalHandle:
        """Lets the arm stay where it starts, for long."""
        self._graph.wait(self._arm.server_is_ready, "the action of the arm's controller")
        point = JointTrajectoryPoint(
            positions=[ROBOT.start_pose[joint] for joint in ARM.joints], time_from_start=Duration(sec=LONG_S)
        )
        trajectory = JointTrajectory(joint_names=ARM.joints, points=[point])
        sent = self._arm.send_goal_async(FollowJointTrajectory.Goal(trajectory=trajectory))
        self._graph.wait(sent.done, "answer to the goal")
        assert sent.result().accepted
        return sent.result()

    def cancel(self, goal: ClientGoalHandle) -> None:
        self._graph.wait(goal.cancel_goal_async().done, "end of the goal")

    def _judge(
        self, request: GetStateValidity.Request, response: GetStateValidity.Response
    ) -> GetStateValidity.Response:
        state = request.robot_state.joint_state
        position = state.position[list(state.name).index(ROBOT.command_joints[JOINT])]
        response.valid = position < WALL
        if not response.valid:
            contact = ContactInformation(contact_body_1="panda_hand", contact_body_2="wall", depth=0.012)
            response.contacts = [contact]
        return response


@pytest.fixture(scope="module")
def moveit(paced: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoveIt]:
    recording = tmp_path_factory.mktemp("recording") / "run.json"
    ways = [0.2 * WALL] * FREE_CHUNKS + [2 * WALL]
    chunks = [{"targets": into(way).tolist()} for way in ways]
    recording.write_text(json.dumps({"joints": ROBOT.command_joints, "chunks": chunks}))
    paced.start("sim_node", autostart=True, cameras=False)
    paced.start("policy_node", autostart=True, policy="wave")
    paced.start(
        "policy_node",
        "-r",
        "__node:=taker",
        name="taker",
        autostart=True,
        policy="wave",
        foreign_goals="preempt",
    )
    paced.start(
        "policy_node",
        "-r",
        "__node:=careful",
        name="careful",
        autostart=True,
        policy="replay",
        recording=recording,
        moveit_check_every=4,
        moveit_timeout_s=5.0,
    )
    with Robot(paced, ROBOT, cameras_only=True):
        yield MoveIt(paced)


def into(way: float) -> np.ndarray:
    """Targets on the way of one joint away from the start pose [rad]."""
    table = np.tile(HOME, (ROBOT.horizon, 1))
    table[:, JOINT] += np.linspace(0, way, ROBOT.horizon)
    return table


def await_lock(paced: Graph, operator: Operator) -> None:
    """Until the node knows that somebody else has the arm."""
    paced.wait(lambda: not operator.reset().success, "the lock")


def await_unlocked(paced: Graph, operator: Operator) -> None:
    """Until the node knows that nobody else has the arm."""
    paced.wait(lambda: operator.reset().success, "the lock to go")


def operator_of(paced: Graph, node: str) -> Operator:
    operator = Operator(paced, ROBOT, policy_node=node)
    operator.await_report(lambda report: True, f"a status of {node}")
    return operator


def begun(operator: Operator, controller: Controller, start_ns: int) -> int:
    """How many trajectories of a controller begin at a time; a chunk and the stop after it may both."""
    return [way.start_ns for way in operator.trajectories()[controller.joints]].count(start_ns)


def test_a_run_waits_for_the_end_of_a_goal_of_somebody_else(paced: Graph, moveit: MoveIt) -> None:
    operator = operator_of(paced, "policy_node")
    goal = moveit.execute()
    await_lock(paced, operator)
    refused = operator.run("wave").result()
    assert refused.outcome == RunPolicy.Result.FAULT
    assert f"{ARM.name} executes a goal of somebody else" in refused.reason
    assert not operator.recording.commands
    moveit.cancel(goal)
    await_unlocked(paced, operator)
    run = operator.run("wave")
    operator.await_following()
    run.cancel()
    assert run.result().outcome == RunPolicy.Result.CANCELED


def test_a_goal_that_begins_in_a_run_has_the_arm(paced: Graph, moveit: MoveIt) -> None:
    operator = operator_of(paced, "policy_node")
    run = operator.run("wave")
    operator.await_following()
    goal = moveit.execute()
    ended = goal.get_result_async()
    report = operator.await_report(lambda report: report.state == PolicyStatus.STOPPED, "STOPPED")
    assert f"{ARM.name} executes a goal of somebody else" in report.reason
    before = len(operator.recording.commands)
    paced.spend(1.0)
    assert ARM.joints not in operator.trajectories(before), "the goal of somebody else was overridden"
    stop_ns = operator.trajectories()[HAND.joints][-1].start_ns
    assert begun(operator, ARM, stop_ns) < begun(operator, HAND, stop_ns), "likewise"
    if not ended.done():  # a last command that was under way would have replaced its trajectory
        assert not operator.reset().success
    moveit.cancel(goal)
    await_unlocked(paced, operator)
    operator.await_following()
    run.cancel()
    run.result()


def test_a_run_may_take_the_arm(paced: Graph, moveit: MoveIt) -> None:
    operator = operator_of(paced, "taker")
    goal = moveit.execute()
    ended = goal.get_result_async()
    await_lock(paced, operator)
    run = operator.run("wave")
    paced.wait(ended.done, "the end of the goal of somebody else")
    assert ended.result().status == GoalStatus.STATUS_CANCELED
    operator.await_following()
    run.cancel()
    run.result()


def test_a_chunk_that_collides_is_refused_with_the_contact(paced: Graph, moveit: MoveIt) -> None:
    operator = operator_of(paced, "careful")
    run = operator.run("go there", from_start_pose=True)
    report = operator.await_report(lambda report: "MoveIt" in report.reason, "a refusal")
    assert report.state == PolicyStatus.HOLDING
    assert "panda_hand and wall 12.0 mm deep" in report.reason
    assert "validity" in operator.await_following().stages
    run.cancel()
    run.result()
    chunks = [trajectory_of(chunk.trajectory) for chunk in operator.recording.chunks]
    assert 0 < max(chunk.positions[:, JOINT].max() for chunk in chunks) - HOME[JOINT] < WALL
