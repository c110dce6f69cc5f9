# SPDX-License-Identifier: Apache-2.0
"""Commands as goals of actions: what the controllers do with them, and which of their answers are told."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from action_msgs.srv import CancelGoal
from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionClient, ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from ros_graph import Graph, ask, set_parameters

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.motion.trajectory import Trajectory, hold
from dreamzero_ros.ros.command_bridge import CommandBridge, Output
from dreamzero_ros.ros.command_goals import ANSWER_S, AWAITED_GOALS, LOOK_AHEAD_NS, REST_STEP, WAY_STEP, aim
from dreamzero_ros.ros.messages import NS_PER_S, trajectory_message
from dreamzero_ros.ros.recorder import Recorder

pytestmark = pytest.mark.ros

actions = pytest.importorskip("control_msgs.action", reason="control_msgs is not installed")

ROBOT = load("droid_franka", {"hand": "gripper_command"})
ARM, HAND = (controller.name for controller in ROBOT.controllers)
JOINTS = ROBOT.command_joints
HOME = np.array([ROBOT.start_pose[joint] for joint in JOINTS])
OPEN, CLOSED = 0.04, 0.0
MOST_UNDER_WAY = 8
"""Goals without a result: ROS keeps ten answers for a client that is too busy, and drops more."""
QUIET_S = 0.5
"""Time in which an answer that is not to come would have come."""


@dataclass
class Stage:
    """A bridge in the test process, and the simulated robot that it commands."""

    graph: Graph
    node: Node
    recorder: Recorder
    words: list[str] = field(default_factory=list)
    """What the bridge has told."""

    def bridge(self, output: Output = "action") -> CommandBridge:
        bridge = CommandBridge(self.node, ROBOT, output, self.words.append)
        clients = self.node.get_client_names_and_types_by_node(self.node.get_name(), "/")
        assert any(ARM in name for name, _ in clients) == (output == "action")
        self.graph.spend(1.0)  # to know the servers
        return bridge

    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def measured(self) -> np.ndarray:
        return self.recorder.recording.measured[-1]

    def way(self, shift: float = 0.2, seconds: float = 1.0, hand: float = OPEN) -> Trajectory:
        """From where the joints are to the start pose shifted in the last joint of the arm."""
        goal = HOME.copy()
        goal[-2:] = HOME[-2] + shift, hand
        way = np.stack([self.measured(), goal])
        return Trajectory(self.now_ns(), JOINTS, np.array([0.0, seconds]), way, np.zeros_like(way))

    def await_words(self, *parts: str) -> None:
        self.graph.wait(lambda: self.words, f"words about {parts}")
        assert len(self.words) == 1, self.words
        for part in parts:
            assert part in self.words[0]

    def await_arm(self, shift: float) -> None:
        """Until the last joint of the arm is where `way` goes to."""
        self.graph.wait(lambda: abs(self.measured()[-2] - HOME[-2] - shift) < 2e-3, f"a shift of {shift}")

    def await_hand(self, position: float) -> None:
        self.graph.wait(lambda: abs(self.measured()[-1] - position) < 2e-3, f"a hand at {position}")

    def set_fault(self, **faults: object) -> None:
        """Sets parameters of the simulation."""
        set_parameters(self.graph, self.recorder, "sim_node", **faults)

    def transition(self, number: int) -> None:
        """A lifecycle transition of the simulation."""
        request = ChangeState.Request(transition=Transition(id=number))
        assert ask(self.graph, self.recorder, ChangeState, "sim_node/change_state", request).success


@pytest.fixture(scope="module")
def robot(graph: Graph) -> Recorder:
    graph.start("sim_node", autostart=True, cameras=False, embodiment_parameters="[hand=gripper_command]")
    recorder = Recorder(ROBOT, context=graph.context)
    graph.executor.add_node(recorder)
    graph.wait(lambda: recorder.recording.measured, "joint states")
    return recorder


@pytest.fixture
def stage(graph: Graph, robot: Recorder) -> Iterator[Stage]:
    node = Node("commander", context=graph.context)
    graph.executor.add_node(node)
    yield Stage(graph, node, robot)
    graph.executor.remove_node(node)
    node.destroy_node()


def test_goals_move_the_robot_and_are_ours_until_they_end(stage: Stage) -> None:
    bridge = stage.bridge()
    bridge.send(stage.way(0.2, hand=CLOSED))
    assert len(bridge.goal_ids) == 2
    stage.await_arm(0.2)
    stage.await_hand(CLOSED)
    stage.graph.wait(lambda: not bridge.goal_ids, "the end of the goals")
    stage.graph.spend(QUIET_S)
    assert not stage.words
    bridge.close()


def test_by_topic_the_gripper_is_commanded_by_its_action_all_the_same(stage: Stage) -> None:
    bridge = stage.bridge("topic")
    bridge.send(stage.way(0.0, hand=OPEN))
    assert len(bridge.goal_ids) == 1
    stage.await_arm(0.0)
    stage.await_hand(OPEN)
    assert not stage.words
    bridge.close()


def test_a_controller_that_is_left_out_is_not_commanded(stage: Stage) -> None:
    bridge = stage.bridge()
    before = stage.measured()
    bridge.send(stage.way(0.3, hand=CLOSED), but=[ARM])
    stage.await_hand(CLOSED)
    assert stage.measured()[:-1] == pytest.approx(before[:-1], abs=1e-3)
    bridge.close()


def test_an_answer_that_has_come_is_not_heard_after_the_end(stage: Stage) -> None:
    """The answer of a server and what is done about it are two turns of the executor."""
    bridge = stage.bridge()
    bridge.send(stage.way(0.2), but=[HAND])
    (answer,) = bridge._outputs[ARM]._sender._awaited.values()
    while not answer.done():
        stage.graph.executor.spin_once(timeout_sec=0.1)
    bridge.close()
    stage.graph.spend(QUIET_S)
    assert not stage.words and not bridge.goal_ids


def futures() -> int:
    gc.collect()
    return sum(isinstance(thing, Future) for thing in gc.get_objects())


def test_a_stream_of_goals_is_no_news_and_leaves_nothing_behind(stage: Stage) -> None:
    """Each aborts the one before, in the controller's words: preempted."""
    bridge = stage.bridge()
    counts = []
    for _ in range(2):
        for _ in range(2 * AWAITED_GOALS):
            bridge.send(stage.way(0.1, 1.0))
            stage.graph.spend(0.01)
            stage.graph.wait(lambda: len(bridge.goal_ids) <= MOST_UNDER_WAY, "results of goals")
        stage.graph.wait(lambda: not bridge.goal_ids, "the end of the goals")
        counts.append(futures())
    assert not stage.words
    assert counts[1] <= counts[0] + 2, "futures pile up"
    bridge.close()


def test_a_rejection_is_told_and_the_controller_goes_on(stage: Stage) -> None:
    bridge = stage.bridge()
    stage.set_fault(reject_goals=True)
    bridge.send(stage.way(0.3), but=[HAND])
    stage.await_words(ARM, "rejected", "its log says why")
    assert not bridge.goal_ids
    assert not bridge.holding, "it was not told anything"
    stage.words.clear()
    closed = np.append(HOME[:-1], CLOSED)
    bridge.send(hold(JOINTS, closed, stage.now_ns()), but=[ARM])
    stage.await_words(HAND, "rejected")
    stage.set_fault(reject_goals=False)
    stage.words.clear()
    bridge.send(hold(JOINTS, closed, stage.now_ns()), but=[ARM])
    stage.await_hand(CLOSED)
    assert not stage.words
    bridge.close()


def test_an_abort_is_told_in_the_words_of_the_controller(stage: Stage) -> None:
    bridge = stage.bridge()
    stage.set_fault(blocked=True, path_tolerance=0.05)
    bridge.send(stage.way(-0.3))
    stage.await_words(ARM, "PATH_TOLERANCE_VIOLATED", "path tolerance violation", "clear the way")
    assert bridge.holding == {ARM}
    stage.set_fault(blocked=False, path_tolerance=0.0)
    stage.words.clear()
    bridge.send(stage.way(-0.3))
    assert not bridge.holding
    stage.await_arm(-0.3)
    assert not stage.words
    bridge.close()


def test_a_goal_of_somebody_else_that_replaces_ours_is_told(stage: Stage) -> None:
    bridge = stage.bridge()
    other = ActionClient(stage.recorder, actions.FollowJointTrajectory, f"{ARM}/follow_joint_trajectory")
    stage.graph.wait(other.server_is_ready, "the action")
    bridge.send(stage.way(0.2, 3.0))
    stage.graph.spend(QUIET_S)
    trajectory = trajectory_message(stage.way(0.0, 0.5), ROBOT.controllers[0].joints)
    other.send_goal_async(actions.FollowJointTrajectory.Goal(trajectory=trajectory))
    stage.await_words(ARM, "INVALID_GOAL", "preempted by new incoming action")
    assert bridge.holding == {ARM}
    stage.await_arm(0.0)
    bridge.close()


@pytest.mark.parametrize("name", [f"{ARM}/follow_joint_trajectory", f"{HAND}/gripper_cmd"])
def test_a_cancel_by_somebody_else_is_told(stage: Stage, name: str) -> None:
    bridge = stage.bridge()
    canceler = stage.recorder.create_client(CancelGoal, f"{name}/_action/cancel_goal")
    stage.graph.wait(canceler.service_is_ready, "the cancel service")
    stage.set_fault(blocked=True)
    bridge.send(stage.way(0.3, 5.0, hand=CLOSED if stage.measured()[-1] > 0.02 else OPEN))
    stage.graph.spend(0.2)
    canceler.call_async(CancelGoal.Request())
    stage.await_words(name, "somebody else canceled")
    assert bridge.holding == {name.partition("/")[0]}
    stage.set_fault(blocked=False)
    bridge.close()


def test_a_controller_that_is_deactivated_says_so_and_takes_nothing_more(stage: Stage) -> None:
    bridge = stage.bridge()
    bridge.send(stage.way(0.1, 3.0), but=[HAND])
    stage.graph.spend(QUIET_S)
    stage.transition(Transition.TRANSITION_DEACTIVATE)
    stage.await_words(ARM, "INVALID_GOAL", "deactivate")
    stage.words.clear()
    bridge.send(stage.way(0.1), but=[HAND])
    stage.await_words(ARM, "rejected", "is it active")
    stage.transition(Transition.TRANSITION_ACTIVATE)
    bridge.close()


def test_without_servers_every_controller_is_told(graph: Graph) -> None:
    node = Node("commander", namespace="/nobody", context=graph.context)
    words: list[str] = []
    bridge = CommandBridge(node, ROBOT, "action", words.append)
    bridge.send(hold(JOINTS, HOME, node.get_clock().now().nanoseconds))
    assert [text.split("/")[0] for text in words] == [ARM, HAND]
    assert all("has no server: start the controller" in text for text in words)
    bridge.close()
    node.destroy_node()


class Followed:
    """A controller of the test process that takes every goal and ends it when and as it is told."""

    def __init__(self, node: Node, controller: str) -> None:
        self.goals: list[tuple[float, Future]] = []
        """Time of the last point [s], and the result to come."""
        kind, name = actions.FollowJointTrajectory, f"{controller}/follow_joint_trajectory"
        self._server = ActionServer(node, kind, name, self._execute)

    def abort(self, number: int, code: str) -> None:
        result = actions.FollowJointTrajectory.Result
        self.goals[number][1].set_result(result(error_code=getattr(result, code)))

    def close(self) -> None:
        for _, ended in self.goals:
            ended.set_result(actions.FollowJointTrajectory.Result())
        self._server.destroy()

    async def _execute(self, handle: ServerGoalHandle) -> object:
        ended = Future()
        self.goals.append((handle.request.trajectory.points[-1].time_from_start.sec, ended))
        result = await ended
        handle.abort()
        return result


@pytest.fixture
def commander(graph: Graph) -> Iterator[Node]:
    """A node away from the simulated robot."""
    node = Node("commander", namespace="/elsewhere", context=graph.context)
    graph.executor.add_node(node)
    yield node
    graph.executor.remove_node(node)
    node.destroy_node()


def test_a_stop_from_within_comes_after_everything_that_was_sent_before(
    graph: Graph, commander: Node
) -> None:
    """The arm has no controller; the command of the hand must not come after the stop for both."""
    hand = Followed(commander, HAND)
    told: list[str] = []

    def resting(seconds: float) -> Trajectory:
        return hold(JOINTS, HOME, commander.get_clock().now().nanoseconds, seconds)

    def reject(words: str) -> None:
        told.append(words)
        if len(told) == 1:
            bridge.send(resting(2.0))

    bridge = CommandBridge(commander, load("droid_franka"), "action", reject)
    graph.spend(1.0)
    bridge.send(resting(9.0))
    graph.wait(lambda: len(hand.goals) == 2, "both goals")
    assert [seconds for seconds, _ in hand.goals] == [9, 2]
    assert len(told) == 2 and all(ARM in words for words in told)
    bridge.close()
    hand.close()


@pytest.mark.parametrize(
    ("number", "code", "told", "holding"),
    [
        (0, "INVALID_GOAL", False, False),
        (0, "PATH_TOLERANCE_VIOLATED", True, False),
        (1, "INVALID_GOAL", True, True),
        (1, "GOAL_TOLERANCE_VIOLATED", True, True),
    ],
)
def test_the_goal_before_the_newest_is_heard_only_when_the_arm_left_its_path(
    graph: Graph, commander: Node, number: int, code: str, told: bool, holding: bool
) -> None:
    """The controller may find out while the newest goal is on its way."""
    arm = Followed(commander, ARM)
    words: list[str] = []
    bridge = CommandBridge(commander, ROBOT, "action", words.append)
    graph.spend(1.0)
    for count in (1, 2):
        bridge.send(hold(JOINTS, HOME, commander.get_clock().now().nanoseconds), but=[HAND])
        graph.wait(lambda count=count: len(arm.goals) == count, "the goal")
    arm.abort(number, code)
    graph.wait(lambda: len(bridge.goal_ids) == 1, "the end of the goal")
    assert [code in text for text in words] == [True] * told
    assert bridge.holding == ({ARM} if holding else set())
    bridge.close()
    arm.close()


def test_a_server_that_never_answers_is_told_and_does_not_fill_the_memory(graph: Graph) -> None:
    deaf = Node("deaf", namespace="/deaf", context=graph.context)
    node = Node("commander", namespace="/deaf", context=graph.context)
    graph.executor.add_node(node)
    name = f"{ARM}/follow_joint_trajectory"
    server = ActionServer(deaf, actions.FollowJointTrajectory, name, lambda handle: None)
    words: list[str] = []
    bridge = CommandBridge(node, ROBOT, "action", words.append)
    graph.spend(1.0)

    def sent() -> bool:
        bridge.send(hold(JOINTS, HOME, node.get_clock().now().nanoseconds), but=[HAND])
        return bool(words)

    began_ns = node.get_clock().now().nanoseconds
    graph.wait(sent, "words")
    assert "has not answered" in words[0] and name in words[0]
    assert node.get_clock().now().nanoseconds - began_ns >= ANSWER_S * NS_PER_S
    for _ in range(2 * AWAITED_GOALS):
        sent()
    assert len(bridge.goal_ids) == AWAITED_GOALS
    bridge.close()
    server.destroy()
    graph.executor.remove_node(node)
    for each in (node, deaf):
        each.destroy_node()


def test_without_control_msgs_the_package_is_named(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "control_msgs", None)
    node = Node("commander", context=graph.context)
    for output, part in (("action", "command_output:=topic"), ("topic", "type joint_trajectory")):
        with pytest.raises(ValueError, match=r"apt install ros-\w+-control-msgs") as caught:
            CommandBridge(node, ROBOT, output, lambda words: None)
        assert part in str(caught.value)
        assert (ARM if output == "action" else HAND) in str(caught.value)
        assert node.count_publishers(f"/{ARM}/joint_trajectory") == 0, "left behind"
    CommandBridge(node, load("droid_franka"), "topic", lambda words: None).close()
    node.destroy_node()


def finger(*points: tuple[float, float, float]) -> Trajectory:
    """Time [s], position, velocity of each point; begins at time 0."""
    times, positions, velocities = np.array(points).T
    return Trajectory(0, ("finger",), times, positions[:, None], velocities[:, None])


CLOSING = finger(
    (0, OPEN, 0), (0.5, OPEN, 0), (0.52, 0.039, -0.1), (0.7, 0.001, -0.1), (0.72, 0, 0), (2, 0, 0)
)
SLOW = finger((0, OPEN, 0), (2.0, 0.02, -0.01), (4.0, 0.0, 0))


@pytest.mark.parametrize(
    ("way", "at_s", "position", "rests"),
    [
        (CLOSING, -1.0, OPEN, True),
        (CLOSING, 0.0, OPEN, True),
        (CLOSING, 0.49, OPEN, True),
        (CLOSING, 0.501, CLOSED, True),
        (CLOSING, 0.6, CLOSED, True),
        (CLOSING, 9.0, CLOSED, True),
        (SLOW, 0.0, float(SLOW.sample(LOOK_AHEAD_NS)[0][0]), False),
        (SLOW, 2.0, float(SLOW.sample(2 * NS_PER_S + LOOK_AHEAD_NS)[0][0]), False),
        (SLOW, 3.6, CLOSED, True),
    ],
)
def test_a_gripper_is_told_at_once_where_it_comes_to_rest(
    way: Trajectory, at_s: float, position: float, rests: bool
) -> None:
    assert aim(way, round(at_s * NS_PER_S)) == (pytest.approx(position, abs=1e-9), rests)


@given(
    steps=st.lists(
        st.tuples(st.floats(0.01, 1.0), st.floats(CLOSED, OPEN), st.floats(-0.1, 0.1)), min_size=2, max_size=9
    ),
    at_s=st.floats(-1, 10),
)
@settings(max_examples=50, deadline=None, database=None)
def test_a_gripper_is_never_told_to_be_where_the_trajectory_does_not_go(
    steps: list[tuple[float, float, float]], at_s: float
) -> None:
    at_s_of = np.cumsum([0.0, *(step[0] for step in steps)])
    points = [(t, q, v) for t, (_, q, v) in zip(at_s_of, steps, strict=False)]
    way = finger(*points, (at_s_of[-1], steps[-1][1], 0.0))
    now_ns = round(at_s * NS_PER_S)
    within = np.linspace(now_ns, now_ns + LOOK_AHEAD_NS, 2000).astype(np.int64)
    passed = way.sample(np.append(within, way.points_ns))[0]
    assert np.abs(passed - aim(way, now_ns)[0]).min() < 1e-3
    if now_ns > way.end_ns:
        assert aim(way, now_ns) == (way.positions[-1, 0], True)


def test_a_gripper_gets_few_goals_for_a_motion(graph: Graph) -> None:
    """A driver that is told a hundred positions on the way stops and starts a hundred times."""
    node = Node("commander", namespace="/counted", context=graph.context)
    graph.executor.add_node(node)
    goals: list[tuple[float, float]] = []

    def execute(handle: ServerGoalHandle) -> object:
        command = handle.request.command
        goals.append((command.position, command.max_effort))
        handle.succeed()
        return actions.GripperCommand.Result()

    server = ActionServer(node, actions.GripperCommand, f"{HAND}/gripper_cmd", execute)
    bridge = CommandBridge(node, ROBOT, "topic", pytest.fail)
    graph.spend(1.0)

    def send(closing: Callable[[np.ndarray], np.ndarray]) -> None:
        times = np.linspace(0, 2.0, 101)
        way = np.tile(HOME, (len(times), 1))
        way[:, -1] = closing(times)
        velocities = np.zeros_like(way)
        velocities[1:-1, -1] = np.gradient(way[:, -1], times)[1:-1]
        bridge.send(Trajectory(node.get_clock().now().nanoseconds, JOINTS, times, way, velocities))

    send(lambda times: np.clip(OPEN - (times - 0.5) * 0.2, CLOSED, OPEN))
    graph.wait(lambda: len(goals) == 2, "the goal to close")
    graph.spend(1.0)
    assert goals == [(OPEN, 0.0), (CLOSED, 0.0)]
    send(lambda times: np.full_like(times, CLOSED + 0.5 * REST_STEP * OPEN))
    graph.spend(QUIET_S)
    assert len(goals) == 2, "not worth a goal"
    send(lambda times: CLOSED + (OPEN - CLOSED) * times / times[-1])
    graph.spend(3.0)
    slowly = [position for position, _ in goals[1:]]
    assert slowly[-1] == pytest.approx(OPEN)
    assert 4 <= len(slowly) <= 1 + 1 / WAY_STEP
    assert (np.diff(slowly) > 0).all()
    bridge.close()
    server.destroy()
    graph.executor.remove_node(node)
    node.destroy_node()
