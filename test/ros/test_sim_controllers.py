# SPDX-License-Identifier: Apache-2.0
"""The actions of the simulated controllers answer as those of the released controllers do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from ros_graph import Graph, set_parameters
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.ros.messages import time_message, trajectory_message
from dreamzero_ros.ros.qos import COMMAND
from dreamzero_ros.ros.recorder import Recorder

pytestmark = pytest.mark.ros

actions = pytest.importorskip("control_msgs.action", reason="control_msgs is not installed")

ROBOT = load("droid_franka", {"hand": "gripper_command"})
ARM, HAND = ROBOT.controllers
HOME = np.array([ROBOT.start_pose[joint] for joint in ARM.joints])
LAST = len(ARM.joints) - 1
"""Column of the joint that moves."""
RESULT = actions.FollowJointTrajectory.Result
NEAR = 2e-3
"""Distance at which a joint is where it should be [rad or m]."""


class Goal:
    """A goal that was sent."""

    def __init__(self, graph: Graph, client: ActionClient, goal: object) -> None:
        self._graph = graph
        sent = client.send_goal_async(goal)
        graph.wait(sent.done, "answer to the goal")
        self.handle = sent.result()
        self._result = self.handle.get_result_async() if self.accepted else None

    @property
    def accepted(self) -> bool:
        return self.handle.accepted

    @property
    def ended(self) -> bool:
        return self._result.done()

    def end(self) -> tuple[int, object]:
        """Waits for status and result."""
        self._graph.wait(self._result.done, "the result")
        return self._result.result().status, self._result.result().result


@dataclass
class Robot:
    graph: Graph
    recorder: Recorder
    arm: ActionClient
    hand: ActionClient

    def measured(self) -> np.ndarray:
        """Joint positions of now: messages that wait to be handled may be older than an answer."""
        now_ns = self.recorder.get_clock().now().nanoseconds
        self.graph.wait(lambda: self.recorder.recording.measured_ns[-1] >= now_ns, "a joint state of now")
        return self.recorder.recording.measured[-1]

    def way(self, shift: float, seconds: float) -> JointTrajectory:
        """From where the arm is to its start pose, shifted in the last joint."""
        goal = HOME.copy()
        goal[LAST] += shift
        points = np.stack([self.measured()[:-1], goal])
        now_ns = self.recorder.get_clock().now().nanoseconds
        way = Trajectory(now_ns, ARM.joints, np.array([0.0, seconds]), points, np.zeros_like(points))
        return trajectory_message(way, ARM.joints)

    def follow(self, way: JointTrajectory) -> Goal:
        return Goal(self.graph, self.arm, actions.FollowJointTrajectory.Goal(trajectory=way))

    def grip(self, position: float) -> Goal:
        goal = actions.GripperCommand.Goal()
        goal.command.position = position
        return Goal(self.graph, self.hand, goal)

    def is_at(self, shift: float) -> bool:
        return abs(self.measured()[LAST] - HOME[LAST] - shift) < NEAR

    def set_fault(self, **faults: object) -> None:
        set_parameters(self.graph, self.recorder, "sim_node", **faults)


@pytest.fixture(scope="module")
def robot(graph: Graph) -> Robot:
    graph.start("sim_node", autostart=True, cameras=False, embodiment_parameters="[hand=gripper_command]")
    recorder = Recorder(ROBOT, context=graph.context)
    graph.executor.add_node(recorder)
    arm = ActionClient(recorder, actions.FollowJointTrajectory, f"{ARM.name}/follow_joint_trajectory")
    hand = ActionClient(recorder, actions.GripperCommand, f"{HAND.name}/gripper_cmd")
    graph.wait(lambda: recorder.recording.measured, "joint states")
    graph.wait(lambda: arm.server_is_ready() and hand.server_is_ready(), "the actions")
    graph.spend(0.5)
    return Robot(graph, recorder, arm, hand)


def test_a_goal_succeeds_when_its_trajectory_has_ended(robot: Robot) -> None:
    goal = robot.follow(robot.way(0.2, 1.0))
    robot.graph.spend(0.5)
    assert not goal.ended
    status, result = goal.end()
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert (result.error_code, result.error_string) == (RESULT.SUCCESSFUL, "Goal successfully reached!")
    assert robot.is_at(0.2)


def test_a_newer_goal_aborts_the_one_before(robot: Robot) -> None:
    old = robot.follow(robot.way(1.0, 5.0))
    new = robot.follow(robot.way(0.0, 0.5))
    status, result = old.end()
    assert status == GoalStatus.STATUS_ABORTED
    assert result.error_code == RESULT.INVALID_GOAL
    assert "preempted by new incoming action" in result.error_string
    assert new.end()[0] == GoalStatus.STATUS_SUCCEEDED
    assert robot.is_at(0.0)


def test_a_message_on_the_topic_replaces_the_trajectory_but_not_the_goal(robot: Robot) -> None:
    publisher = robot.recorder.create_publisher(JointTrajectory, f"{ARM.name}/joint_trajectory", COMMAND)
    robot.graph.wait(lambda: publisher.get_subscription_count() == 2, "controller and recorder")
    goal = robot.follow(robot.way(1.0, 30.0))
    publisher.publish(robot.way(-0.2, 1.0))
    robot.graph.spend(0.3)
    assert not goal.ended
    assert goal.end()[0] == GoalStatus.STATUS_SUCCEEDED
    assert robot.is_at(-0.2)


def test_a_canceled_goal_leaves_the_arm_where_it_is(robot: Robot) -> None:
    goal = robot.follow(robot.way(0.8, 2.0))
    robot.graph.spend(1.0)
    goal.handle.cancel_goal_async()
    assert goal.end()[0] == GoalStatus.STATUS_CANCELED
    there = robot.measured()
    robot.graph.spend(1.0)
    assert 0.05 < there[LAST] - HOME[LAST] < 0.75
    assert robot.measured() == pytest.approx(there, abs=0.03)


def other_joints(way: JointTrajectory) -> None:
    way.joint_names[0] = "elbow"


def too_few_joints(way: JointTrajectory) -> None:
    way.joint_names = way.joint_names[:-1]


def no_points(way: JointTrajectory) -> None:
    way.points = []


def a_point_without_one_joint(way: JointTrajectory) -> None:
    way.points[1].positions = way.points[1].positions[:-1]


def a_point_without_one_velocity(way: JointTrajectory) -> None:
    way.points[0].velocities = way.points[0].velocities[:-1]


def times_that_stand_still(way: JointTrajectory) -> None:
    way.points[0].time_from_start = way.points[1].time_from_start


def yesterday(way: JointTrajectory) -> None:
    way.header.stamp = time_message(1)


SPOILED = (
    other_joints,
    too_few_joints,
    no_points,
    a_point_without_one_joint,
    a_point_without_one_velocity,
    times_that_stand_still,
    yesterday,
)


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_bad_goal_is_rejected_and_the_goal_before_it_goes_on(
    robot: Robot, spoil: Callable[[JointTrajectory], None]
) -> None:
    good = robot.follow(robot.way(0.1, 0.5))
    way = robot.way(0.5, 0.5)
    spoil(way)
    assert not robot.follow(way).accepted
    assert good.end()[0] == GoalStatus.STATUS_SUCCEEDED
    assert robot.is_at(0.1)


def test_a_joint_that_leaves_its_path_ends_the_goal(robot: Robot) -> None:
    robot.set_fault(blocked=True, path_tolerance=0.05)
    before = robot.measured()
    status, result = robot.follow(robot.way(0.8, 1.0)).end()
    assert status == GoalStatus.STATUS_ABORTED
    assert result.error_code == RESULT.PATH_TOLERANCE_VIOLATED
    assert result.error_string == "Aborted due to path tolerance violation"
    robot.set_fault(blocked=False, path_tolerance=0.0)
    robot.graph.spend(0.5)
    assert robot.measured() == pytest.approx(before, abs=NEAR), "it holds where the joints are"


def test_a_gripper_gets_there_and_says_so(robot: Robot) -> None:
    for position in (0.0, 0.04):
        status, result = robot.grip(position).end()
        assert status == GoalStatus.STATUS_SUCCEEDED
        assert result.reached_goal and not result.stalled
        assert result.position == pytest.approx(position, abs=NEAR)
        assert robot.measured()[-1] == pytest.approx(position, abs=NEAR)


def test_a_gripper_that_stalls_gives_up(robot: Robot) -> None:
    robot.set_fault(blocked=True)
    status, result = robot.grip(0.0).end()
    robot.set_fault(blocked=False)
    assert status == GoalStatus.STATUS_ABORTED
    assert result.stalled and not result.reached_goal
    assert result.position == pytest.approx(0.04, abs=NEAR)
