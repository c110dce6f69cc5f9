# SPDX-License-Identifier: Apache-2.0
"""Chunks before a played MoveIt: free, in collision, answered slowly or not at all."""

from __future__ import annotations

import dataclasses
import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from ros_graph import Graph
from std_msgs.msg import String

from dreamzero_ros.embodiment.frame import ActionChunk, Frame, make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.policy.rollout import Request
from dreamzero_ros.policy.stand_ins import HoldPolicy
from dreamzero_ros.policy.validated import ValidatedPolicy
from dreamzero_ros.policy.worker import Answer, PolicyWorker
from dreamzero_ros.ros import qos
from dreamzero_ros.ros.moveit import StateValidity, checked_targets, contacts_in_words
from dreamzero_ros.sim.description import describe

pytest.importorskip(
    "moveit_msgs", reason="needs moveit_msgs: make test, or apt install ros-jazzy-moveit-msgs"
)
from moveit_msgs.msg import ContactInformation
from moveit_msgs.srv import GetStateValidity

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
HOME = np.array([ROBOT.start_pose[joint] for joint in ROBOT.command_joints])
FRAME = make_example(ROBOT, np.random.default_rng(0))
JOINT, WALL = "panda_joint4", -2.0
"""Where this joint is beyond this position [rad], the arm is in the wall."""
QUESTIONS = 6
EVERY = ROBOT.horizon // QUESTIONS
TIMEOUT_S = 20.0
"""Never reached where MoveIt answers."""


def contact(one: str, other: str, depth_m: float) -> ContactInformation:
    return ContactInformation(contact_body_1=one, contact_body_2=other, depth=depth_m)


TOUCHING = [
    contact("panda_link5", "wall", 0.004),
    contact("wall", "panda_hand", 0.0123),
    contact("panda_link6", "wall", 0.001),
    contact("panda_hand", "wall", 0.002),
    contact("cup", "panda_link7", -0.002),
]
IN_WORDS = (
    "panda_hand and wall 12.3 mm deep, panda_link5 and wall 4.0 mm deep, cup and panda_link7 2.0 mm deep"
)


class MoveIt(Node):
    """Plays move_group: knows a wall, and answers as many questions at a time as come.

    Plays robot_state_publisher, too.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__("move_group", context=graph.context)
        self.asked: list[GetStateValidity.Request] = []
        self.before: Callable[[], object] = lambda: None
        """Called before every answer."""
        self._executor = MultiThreadedExecutor(num_threads=QUESTIONS + 2, context=graph.context)
        self._service = self.create_service(
            GetStateValidity, "check_state_validity", self._answer, callback_group=ReentrantCallbackGroup()
        )
        self._descriptions = self.create_publisher(String, "robot_description", qos.LATCHED)
        self._executor.add_node(self)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def describe(self, robot: Embodiment, without: str = "") -> None:
        """Publishes the description of a robot, in which a joint has another name."""
        text = describe(robot)
        if without:
            assert f'"{without}"' in text
            text = text.replace(f'"{without}"', '"another"')
        self._descriptions.publish(String(data=text))

    def leave(self) -> None:
        """Serves no longer."""
        self.destroy_service(self._service)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.destroy_node()

    def _answer(
        self, request: GetStateValidity.Request, response: GetStateValidity.Response
    ) -> GetStateValidity.Response:
        self.asked.append(request)
        self.before()
        state = request.robot_state.joint_state
        response.valid = dict(zip(state.name, state.position, strict=True)).get(JOINT, WALL - 1) < WALL
        response.contacts = [] if response.valid else TOUCHING
        return response


@pytest.fixture
def node(graph: Graph) -> Iterator[Node]:
    """The policy node; it never spins, as if its thread were busy."""
    made = Node("policy_node", context=graph.context)
    yield made
    made.destroy_node()


@pytest.fixture
def moveit(graph: Graph) -> Iterator[MoveIt]:
    made = MoveIt(graph)
    made.describe(ROBOT)
    yield made
    made.before = lambda: None
    made.close()


@pytest.fixture
def asking(node: Node) -> Iterator[Callable[[float], StateValidity]]:
    """Makes a client with a timeout [s]."""
    made: list[StateValidity] = []

    def make(timeout_s: float) -> StateValidity:
        made.append(StateValidity(node, ROBOT, EVERY, "panda_arm", timeout_s))
        return made[-1]

    yield make
    for validity in made:
        validity.close()


@pytest.fixture
def validity(moveit: MoveIt, asking: Callable[[float], StateValidity]) -> StateValidity:
    """A client that has found MoveIt."""
    return met(asking(TIMEOUT_S), chunk())


def chunk(**targets: dict[int, float]) -> ActionChunk:
    """The arm stays at home but for positions by joint and target."""
    table = np.tile(HOME, (ROBOT.horizon, 1))
    for joint, positions in targets.items():
        for target, position in positions.items():
            table[target, ROBOT.command_joints.index(joint)] = position
    return ActionChunk(FRAME.stamp_ns, ROBOT.dt_s, ROBOT.command_joints, table)


def met(validity: StateValidity, harmless: ActionChunk) -> StateValidity:
    """Waits until MoveIt was found and has answered."""

    def answered() -> bool:
        try:
            validity.check(harmless)
        except MotionError:
            return False
        return True

    until(answered, "an answer of MoveIt")
    return validity


def until(done: Callable[[], bool], what: str) -> None:
    """Waits without handling messages."""
    limit_s = time.monotonic() + 2 * TIMEOUT_S
    while not done():
        assert time.monotonic() < limit_s, f"not in time: {what}"
        time.sleep(0.05)


def test_a_free_chunk_passes_and_moveit_saw_its_targets(moveit: MoveIt, validity: StateValidity) -> None:
    moveit.asked.clear()
    ramp = np.linspace(HOME[0], HOME[0] + 0.5, ROBOT.horizon)
    validity.check(chunk(panda_joint1=dict(enumerate(ramp))))
    asked = sorted(moveit.asked, key=lambda request: request.robot_state.joint_state.position[0])
    assert len(asked) == QUESTIONS
    for request, target in zip(asked, range(EVERY - 1, ROBOT.horizon, EVERY), strict=True):
        state = request.robot_state.joint_state
        assert tuple(state.name) == ROBOT.command_joints
        np.testing.assert_allclose(state.position, [ramp[target], *HOME[1:]])
        assert request.robot_state.is_diff, "else what the gripper holds is forgotten"
        assert request.group_name == "panda_arm"


@pytest.mark.parametrize("target", [EVERY - 1, 3 * EVERY - 1, ROBOT.horizon - 1])
def test_a_chunk_into_the_wall_is_refused_with_what_touches(
    moveit: MoveIt, validity: StateValidity, target: int
) -> None:
    into_wall = dict.fromkeys(range(target, ROBOT.horizon), WALL + 0.1)
    with pytest.raises(MotionError) as caught:
        validity.check(chunk(**{JOINT: into_wall}))
    assert f"target {target}, due {(target + 1) * ROBOT.dt_s:.2f} s after" in str(caught.value)
    assert f"{IN_WORDS} and 1 more" in str(caught.value)
    validity.check(chunk())


def test_all_questions_are_asked_at_once(moveit: MoveIt, validity: StateValidity) -> None:
    """Nobody answers before all questions are there."""
    moveit.before = threading.Barrier(QUESTIONS, timeout=TIMEOUT_S).wait
    validity.check(chunk())


def test_no_answer_in_time_is_a_refusal_and_a_late_answer_counts_for_nothing(
    moveit: MoveIt, asking: Callable[[float], StateValidity]
) -> None:
    validity = met(asking(2.0), chunk())
    answer = threading.Event()
    moveit.before = lambda: answer.wait(TIMEOUT_S)
    with pytest.raises(MotionError, match=r"not answered 6 of 6 questions .* 2 s: .*moveit_timeout_s"):
        validity.check(chunk())
    moveit.before = lambda: None
    answer.set()
    with pytest.raises(MotionError, match="target 23"):
        validity.check(chunk(**{JOINT: {ROBOT.horizon - 1: WALL + 0.1}}))


def test_without_moveit_every_chunk_is_refused(asking: Callable[[float], StateValidity]) -> None:
    with pytest.raises(MotionError, match="no service /check_state_validity: start move_group"):
        asking(TIMEOUT_S).check(chunk())


def test_moveit_that_went_away_is_missed(moveit: MoveIt, asking: Callable[[float], StateValidity]) -> None:
    validity = met(asking(2.0), chunk())
    moveit.leave()

    def missed() -> bool:
        with pytest.raises(MotionError) as caught:
            validity.check(chunk())
        return "no service" in str(caught.value)

    until(missed, "the service to be missed")


def test_targets_that_are_no_numbers_do_not_reach_moveit(moveit: MoveIt, validity: StateValidity) -> None:
    moveit.asked.clear()
    with pytest.raises(MotionError, match="not finite"):
        validity.check(chunk(panda_joint1={1: math.nan}))
    assert not moveit.asked


def test_joints_in_the_unit_ratio_are_left_to_what_moveit_knows(moveit: MoveIt, node: Node) -> None:
    """The gripper of the YAM reports a share of its travel, which is no position of a joint."""
    yam = load("yam")
    moveit.describe(yam)
    positions = np.array([yam.start_pose[joint] for joint in yam.command_joints])
    targets = np.tile(positions, (yam.horizon, 1))
    validity = StateValidity(node, yam, yam.horizon, "", TIMEOUT_S)
    try:
        met(validity, ActionChunk(0, yam.dt_s, yam.command_joints, targets))
    finally:
        validity.close()
    names = moveit.asked[-1].robot_state.joint_state.name
    assert set(yam.command_joints) - set(names) == {"left_gripper", "right_gripper"}


def test_a_gripper_that_the_description_lacks_is_left_to_what_moveit_knows(
    moveit: MoveIt, asking: Callable[[float], StateValidity]
) -> None:
    """A name that its robot model does not know ends move_group."""
    gripper = ROBOT.gripper_joints[0]
    moveit.describe(ROBOT, without=gripper)
    met(asking(TIMEOUT_S), chunk())
    names = moveit.asked[-1].robot_state.joint_state.name
    assert set(ROBOT.command_joints) - set(names) == {gripper}


def test_nothing_is_asked_about_a_robot_that_is_not_described_or_lacks_a_joint(
    moveit: MoveIt, asking: Callable[[float], StateValidity]
) -> None:
    moveit.describe(ROBOT, without=JOINT)
    validity = asking(TIMEOUT_S)

    def refusal() -> str:
        with pytest.raises(MotionError) as caught:
            validity.check(chunk())
        return str(caught.value)

    until(lambda: f"robot_description has no {JOINT}," in refusal(), "the description")
    assert not moveit.asked
    moveit.describe(ROBOT)
    met(validity, chunk())


def test_a_description_that_has_not_come_is_missed(graph: Graph, moveit: MoveIt) -> None:
    class Elsewhere(Node):
        """The policy node with its description remapped to where nobody publishes one."""

        def resolve_topic_name(self, topic: str, *, only_expand: bool = False) -> str:
            return f"/nowhere/{topic}"

    ignorant = Elsewhere("ignorant", context=graph.context)
    validity = StateValidity(ignorant, ROBOT, EVERY, "", TIMEOUT_S)

    def refused() -> bool:
        with pytest.raises(MotionError) as caught:
            validity.check(chunk())
        return "no robot_description has come" in str(caught.value)

    try:
        until(refused, "the refusal")
    finally:
        validity.close()
        ignorant.destroy_node()
    assert not moveit.asked


class Into(HoldPolicy):
    """Wants into the wall."""

    def infer(self, frame: Frame) -> ActionChunk:
        return dataclasses.replace(chunk(**{JOINT: {ROBOT.horizon - 1: WALL + 0.1}}), stamp_ns=frame.stamp_ns)


def test_the_worker_delivers_the_refusal_and_ends_while_moveit_is_silent(moveit: MoveIt, node: Node) -> None:
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    validity = met(StateValidity(node, ROBOT, EVERY, "", TIMEOUT_S), chunk())
    worker = PolicyWorker(ValidatedPolicy(Into(ROBOT), validity), answers.put, lambda: False)
    worker.ask(Request(FRAME, new_session=True, serial=1, age_s=0.0))
    refused = answers.get(timeout=TIMEOUT_S)
    assert refused.chunk is None and isinstance(refused.error, MotionError)
    assert f"target {ROBOT.horizon - 1}" in str(refused.error)

    begun, silence = threading.Event(), threading.Event()
    moveit.before = lambda: (begun.set(), silence.wait(TIMEOUT_S))
    worker.ask(Request(FRAME, new_session=True, serial=2, age_s=0.0))
    assert begun.wait(TIMEOUT_S)
    end = threading.Thread(target=worker.close, daemon=True)
    end.start()
    end.join(TIMEOUT_S / 2)
    assert not end.is_alive()
    silence.set()
    unchecked = answers.get(timeout=1)
    assert unchecked.chunk is None and "interrupted" in str(unchecked.error)


def test_the_missing_package_is_named(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moveit_msgs.srv", None)
    with pytest.raises(ValueError, match=r"apt install ros-.*-moveit-msgs, or set moveit_check_every:=0"):
        StateValidity(node, ROBOT, EVERY, "", TIMEOUT_S)


@given(targets=st.integers(1, 60), every=st.integers(1, 60))
def test_no_gap_between_questions_is_longer_than_told_and_the_last_target_is_among_them(
    targets: int, every: int
) -> None:
    asked = checked_targets(targets, every)
    assert asked[-1] == targets - 1
    assert all(0 < gap <= every for gap in np.diff([-1, *asked]))


def test_an_invalid_state_without_contacts_is_said_to_be_one() -> None:
    assert contacts_in_words([]) == "it names no contacts"
