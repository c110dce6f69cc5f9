# SPDX-License-Identifier: Apache-2.0
"""Each fault in a running graph: the state, the reason, the time to hold, the way back."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from closed_loop import assert_at_rest_in_the_end, assert_continuous
from control_msgs import action as actions
from rclpy.action import ActionServer, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from robot import JOINT_STATES, Robot
from ros_graph import Graph, Operator
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros import qos
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import NS_PER_S

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
HOLD_LIMIT_S = 0.15
"""Longest time from the moment at which a fault can be known to the command to hold [s]."""
MAX_AGE_S, TRACKING_TIME_S = 0.3, 0.25
MAX_TRACKING_ERROR = 0.05
CAMERA = "wrist_image_left"
ARM = ROBOT.controllers[0].joints
MOVING_S = 0.3
"""From the first chunk to the fault: by then the arm moves [s]."""
DISCOVERY_S = 1.0
"""In which the other side has found who has been found, too [s]."""
GOOD_CHUNKS = 2
"""Chunks before a bad one."""


def chunks_with(spoil: Callable[[np.ndarray], None]) -> list[list[list[float]]]:
    """Target tables of a slow motion, the last of which is spoiled."""
    home = np.array([ROBOT.start_pose[joint] for joint in ROBOT.command_joints])
    to_middle = np.array([0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.0])
    ramp = np.linspace(0, 1, ROBOT.horizon)[:, None] * to_middle
    tables = [home + ramp for _ in range(GOOD_CHUNKS + 1)]
    spoil(tables[-1])
    return [table.tolist() for table in tables]


def nan(table: np.ndarray) -> None:
    table[5, 3] = math.nan


def far(table: np.ndarray) -> None:
    table[:, 3] += 1.5


RECORDINGS = {"nan": chunks_with(nan), "far": chunks_with(far), "ending": chunks_with(lambda table: None)}
NODES: dict[str, dict[str, object]] = {
    "wave": {"policy": "wave", "max_tracking_error": MAX_TRACKING_ERROR},
    "goals": {"policy": "wave", "command_output": "action"},
    "slow": {"policy": "wave", "added_latency_s": 1.0},
    **{name: {"policy": "replay"} for name in RECORDINGS},
}
"""Parameters of policy nodes, by a name for each."""


@dataclass
class Stage:
    """A robot and its policy node."""

    graph: Graph
    robot: Robot
    operator: Operator


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, _this_machine_only: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """With the policy node of this name."""
    name, folder = request.param, tmp_path_factory.mktemp("graph")
    parameters = NODES[name]
    if name in RECORDINGS:
        path = folder / f"{name}.json"
        chunks = [{"targets": table} for table in RECORDINGS[name]]
        path.write_text(json.dumps({"joints": ROBOT.command_joints, "chunks": chunks}))
        parameters = parameters | {"recording": path}
    with Graph(folder, simulated_time=True) as graph:
        graph.start("policy_node", autostart=True, approach_speed=0.5, **parameters)
        operator = Operator(graph, ROBOT)
        with Robot(graph, ROBOT) as robot:
            graph.wait(lambda: operator.ready, "an active policy node")
            yield Stage(graph, robot, operator)


class Cut:
    """A stream that ends after its next message."""

    def __init__(self) -> None:
        self.last_ns: int | None = None

    def __call__(self, message: Any) -> Any:
        if self.last_ns is not None:
            return None
        self.last_ns = stamp_ns(message)
        return message


class Frozen:
    """Joint states that stay what they are, as those of an arm that is blocked."""

    def __init__(self) -> None:
        self.positions: list[float] | None = None

    def __call__(self, message: Any) -> Any:
        self.positions = self.positions or list(message.position)
        message.position = self.positions
        return message


def in_force(trajectories: list[Trajectory], at_ns: int) -> Trajectory:
    return [trajectory for trajectory in trajectories if trajectory.start_ns <= at_ns][-1]


def away_since_ns(trajectories: list[Trajectory], positions: list[float], from_ns: int) -> int:
    """When the command has been further than the tolerance from where the arm is for long enough [ns]."""
    first_ns = None
    for at_ns in range(from_ns, from_ns + 20 * NS_PER_S, NS_PER_S // 1000):
        error = np.abs(in_force(trajectories, at_ns).sample(at_ns)[0] - positions).max()
        first_ns = None if error <= MAX_TRACKING_ERROR else first_ns or at_ns
        if first_ns is not None and at_ns - first_ns > TRACKING_TIME_S * NS_PER_S:
            return at_ns
    raise AssertionError("the arm was never away from its command")


def rest_ns(trajectory: Trajectory) -> int:
    """When it comes to rest [ns, ROS clock]."""
    moving = np.flatnonzero(trajectory.velocities.any(axis=1))
    return int(trajectory.points_ns[moving[-1] + 1]) if len(moving) else trajectory.start_ns


class Fault(ABC):
    """Something that goes wrong in a run, and what the operator does about it."""

    node = "wave"
    """Name of the policy node to which it happens."""
    state = PolicyStatus.HOLDING
    words = ""
    continuous = True
    """Whether every command begins on the one before."""
    first = 0
    """Number of the first command of the run."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.operator = stage.operator

    def begin(self) -> None:  # noqa: B027 - some happen by themselves
        """Makes it happen."""

    @abstractmethod
    def known_ns(self, report: PolicyStatus) -> int:
        """When it could be known at the earliest, asked after it was reported [ns, ROS clock]."""

    def held_ns(self, report: PolicyStatus, known_ns: int) -> int:
        """When the command to hold was made [ns, ROS clock]."""
        self.stage.graph.wait(lambda: self.arm()[-1].start_ns >= known_ns, "the command to hold")
        return self.arm()[-1].start_ns

    def undo(self) -> None:  # noqa: B027 - of most nothing outlives it
        """Takes the cause away, where it would outlive the run."""

    def end(self) -> None:  # noqa: B027 - some end by themselves
        """Takes the cause away, and does what the way back asks."""

    def arm(self) -> list[Trajectory]:
        """What the arm was sent in this run."""
        return self.operator.trajectories(self.first)[ARM]


class StaleStream(Fault):
    stream = ""

    def begin(self) -> None:
        self.cut = Cut()
        self.stage.robot.faults[self.stream] = self.cut

    def known_ns(self, report: PolicyStatus) -> int:
        return self.cut.last_ns + round(MAX_AGE_S * NS_PER_S)

    def end(self) -> None:
        del self.stage.robot.faults[self.stream]


class StaleCamera(StaleStream):
    stream, words = CAMERA, "newest image is"


class StaleJointStates(StaleStream):
    """Known before they are too old: none belongs to the newest image set any more."""

    stream, words = JOINT_STATES, "none at the newest image set"

    def known_ns(self, report: PolicyStatus) -> int:
        return self.cut.last_ns + round(ROBOT.joint_tolerance_s * NS_PER_S)


class BlockedArm(Fault):
    state, words = PolicyStatus.STOPPED, "away from its command"

    def begin(self) -> None:
        self.began_ns = self.stage.graph.now_ns()
        self.frozen = Frozen()
        self.stage.robot.faults[JOINT_STATES] = self.frozen

    def known_ns(self, report: PolicyStatus) -> int:
        return away_since_ns(self.arm(), self.frozen.positions[:7], self.began_ns)

    def end(self) -> None:
        del self.stage.robot.faults[JOINT_STATES]
        self.stage.graph.spend(0.2)
        assert self.operator.reset().success


class EStop(Fault):
    state, words = PolicyStatus.STOPPED, "e-stop is pressed"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.button = self.operator.create_publisher(Bool, "e_stop", qos.REPORT)
        stage.graph.wait(self.button.get_subscription_count, "a listener to the e-stop")

    def begin(self) -> None:
        self.pressed_ns = self.stage.graph.now_ns()
        self.button.publish(Bool(data=True))

    def known_ns(self, report: PolicyStatus) -> int:
        return self.pressed_ns

    def undo(self) -> None:
        self.button.publish(Bool(data=False))

    def end(self) -> None:
        assert not self.operator.reset().success
        self.undo()
        self.stage.graph.wait(lambda: self.operator.reset().success, "the e-stop to be released")


class Pause(Fault):
    state, words = PolicyStatus.PAUSED, "paused by the operator"

    def begin(self) -> None:
        self.began_ns = self.stage.graph.now_ns()
        assert self.operator.pause(True).success

    def known_ns(self, report: PolicyStatus) -> int:
        return self.began_ns

    def end(self) -> None:
        assert self.operator.pause(False).success


class LateChunk(Fault):
    node, words = "slow", "the next chunk is late"

    def known_ns(self, report: PolicyStatus) -> int:
        chunk = self.operator.recording.chunks[-1]
        return stamp_ns(chunk) + round(ROBOT.horizon * chunk.step_s * NS_PER_S)

    def held_ns(self, report: PolicyStatus, known_ns: int) -> int:
        """No message is needed: the trajectory ends at rest by itself."""
        return stamp_ns(report)


class Noted:
    """Messages as they are, and their stamps."""

    def __init__(self) -> None:
        self.stamps_ns: list[int] = []

    def __call__(self, message: Any) -> Any:
        self.stamps_ns.append(stamp_ns(message))
        return message


class BadChunk(Fault):
    """The policy answers within milliseconds: known when the image set came that it was asked about."""

    def begin(self) -> None:
        self.noted = Noted()
        self.stage.robot.faults[CAMERA] = self.noted

    def known_ns(self, report: PolicyStatus) -> int:
        return max(at_ns for at_ns in self.noted.stamps_ns if at_ns <= self.arm()[-1].start_ns)


class NanChunk(BadChunk):
    node, words = "nan", "target 5 of panda_joint4 is nan"


class FarChunk(BadChunk):
    node, words = "far", "first target of panda_joint4"


class Follower:
    """A controller that takes goals of its action, until it is told to reject the next one."""

    def __init__(
        self, stage: Stage, node: Node, controller: str, take: Callable[[JointTrajectory], None]
    ) -> None:
        self.rejects = False
        self.rejected_ns = 0
        self._stage = stage
        self._take = take
        kind, name = actions.FollowJointTrajectory, f"{controller}/follow_joint_trajectory"
        self._server = ActionServer(node, kind, name, self._execute, goal_callback=self._judge)

    def _judge(self, goal: Any) -> GoalResponse:
        if self.rejects:
            self.rejects, self.rejected_ns = False, self._stage.graph.now_ns()
            return GoalResponse.REJECT
        self._take(goal.trajectory)
        return GoalResponse.ACCEPT

    def _execute(self, handle: ServerGoalHandle) -> Any:
        """It says at once that all went well, which is of no interest to a sender of many goals."""
        handle.succeed()
        return actions.FollowJointTrajectory.Result()


class RejectedGoal(Fault):
    """The arm goes on with the goal before, which the rejected one leaves slowly, and the stop with it."""

    continuous = False
    node, state, words = "goals", PolicyStatus.STOPPED, "rejected a goal"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        followers = [Follower(stage, self.operator, entry.name, self._take) for entry in ROBOT.controllers]
        self.follower = followers[0]
        feedback = f"{ROBOT.controllers[0].name}/follow_joint_trajectory/_action/feedback"
        stage.graph.wait(lambda: self.operator.count_subscribers(feedback), "the node at the controllers")
        stage.graph.spend(DISCOVERY_S)

    def begin(self) -> None:
        self.follower.rejects = True

    def known_ns(self, report: PolicyStatus) -> int:
        return self.follower.rejected_ns

    def end(self) -> None:
        assert self.operator.reset().success

    def _take(self, trajectory: JointTrajectory) -> None:
        self.operator.recording.commands.append(trajectory)
        self.stage.robot.obey(trajectory)


FAULTS = (
    RejectedGoal,
    StaleCamera,
    StaleJointStates,
    BlockedArm,
    EStop,
    Pause,
    LateChunk,
    NanChunk,
    FarChunk,
)


@contextmanager
def running(fault: Fault) -> Iterator[None]:
    """A run in which the arm moves; ends with the block."""
    operator = fault.operator
    fault.first = len(operator.recording.commands)
    chunks = len(operator.recording.chunks)
    run = operator.run("put the red cube into the bowl", from_start_pose=True)
    try:
        fault.stage.graph.wait(lambda: len(operator.recording.chunks) > chunks, "a chunk")
        fault.stage.graph.spend(MOVING_S)
        yield
    finally:
        fault.stage.robot.faults.clear()
        fault.undo()
        run.cancel()
        assert run.result().outcome == RunPolicy.Result.CANCELED


@pytest.mark.parametrize(
    ("stage", "kind"),
    [(kind.node, kind) for kind in FAULTS],
    ids=lambda x: getattr(x, "__name__", ""),
    indirect=["stage"],
    scope="module",
)
def test_a_fault_ends_in_a_hold_with_a_reason_and_a_way_back(
    stage: Stage, kind: type[Fault], figures: Callable[[str, float], None]
) -> None:
    fault = kind(stage)
    operator, graph = fault.operator, stage.graph
    with running(fault):
        reported = len(operator.reports)
        fault.begin()
        report = operator.await_report(
            lambda report: report.state == fault.state and fault.words in report.reason, fault.words
        )
        new = operator.reports[reported:]
        assert all(report.reason == "" for report in new if report.state == PolicyStatus.FOLLOWING)
        known_ns = fault.known_ns(report)
        held_ns = fault.held_ns(report, known_ns)
        stop, sent = fault.arm()[-1], len(fault.arm())
        figures(f"{kind.__name__}: from knowable to the command to hold [ms]", (held_ns - known_ns) * 1e-6)
        figures(f"{kind.__name__}: from knowable to rest [ms]", (rest_ns(stop) - known_ns) * 1e-6)
        assert (held_ns - known_ns) * 1e-9 < HOLD_LIMIT_S
        assert_at_rest_in_the_end(stop)
        if fault.state != PolicyStatus.HOLDING:
            graph.spend(1.0)
            assert len(fault.arm()) == sent, "held until the operator says otherwise"
        fault.end()
        operator.await_following()
        if fault.continuous:
            assert_continuous(fault.arm())


@pytest.mark.parametrize("stage", ["ending"], indirect=True, scope="module")
def test_an_error_of_the_policy_ends_the_run_with_a_stop(stage: Stage) -> None:
    operator = stage.operator
    result = operator.run("put the red cube into the bowl").result()
    assert result.outcome == RunPolicy.Result.FAULT
    assert "the recording holds 3 chunks and is at its end" in result.reason
    report = operator.await_report(lambda report: report.state == PolicyStatus.IDLE, "IDLE")
    assert "at its end" in report.reason
    assert_at_rest_in_the_end(operator.trajectories()[ARM][-1])
