# SPDX-License-Identifier: Apache-2.0
"""What robots and operators get wrong: the arm holds, the status names stream and cause, the run goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from closed_loop import assert_at_rest_in_the_end, assert_continuous
from robot import JOINT_STATES, Robot, encoded_as, in_parts
from ros_graph import ARRIVAL_S, Graph, Operator

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import image_message, time_message
from dreamzero_ros.ros.share import share

pytestmark = pytest.mark.ros

RAW, COMPRESSED = "exterior_image_1_left", "wrist_image_left"
"""Two cameras of the robot file of these tests."""
REPORTS = 30
"""Statuses in which a fault must be named; a hold takes 0.3 s of them, which come at 10 Hz."""
NS_PER_S = 1_000_000_000


@dataclass
class Play:
    """Everything that a test needs."""

    graph: Graph
    robot: Robot
    operator: Operator


@pytest.fixture(scope="module")
def stage(paced: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    path = tmp_path_factory.mktemp("robots") / "droid_franka.yaml"
    text = (share() / "config" / "embodiments" / path.name).read_text()
    topic = f"topic: {COMPRESSED}/image_raw"
    assert topic in text
    path.write_text(text.replace(topic, f"{topic}/compressed\n    compressed: true"))
    paced.start("policy_node", autostart=True, embodiment=path, policy="wave")
    embodiment = load(path)
    operator = Operator(paced, embodiment)
    with Robot(paced, embodiment) as robot:
        paced.wait(lambda: operator.ready, "an active policy node")
        yield Play(paced, robot, operator)


@pytest.fixture
def play(stage: Play) -> Iterator[Play]:
    """A healthy robot, before and after."""
    yield stage
    stage.robot.faults.clear()


@pytest.fixture
def running(play: Play) -> Iterator[Play]:
    """A run that follows chunks, ended after the test."""
    run = play.operator.run("put the red cube into the bowl")
    play.operator.await_following()
    yield play
    run.cancel()
    assert run.result().outcome == RunPolicy.Result.CANCELED


def but(**fields: Any) -> Callable[[Any], Any]:
    """The message with other fields."""

    def spoil(message: Any) -> Any:
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    return spoil


def cut(count: int) -> Callable[[Any], Any]:
    """The message with the first bytes of its data only."""
    return lambda message: but(data=message.data[:count])(message)


def overwritten(message: Any) -> Any:
    """The data with a hole near the beginning, where a JPEG tells its size."""
    data = np.array(message.data)
    data[2 : len(data) // 2] = 0
    return but(data=data.tobytes())(message)


def late_by(seconds: int) -> Callable[[Any], Any]:
    """The message by a clock that is behind."""

    def spoil(message: Any) -> Any:
        message.header.stamp = time_message(stamp_ns(message) - seconds * NS_PER_S)
        return message

    return spoil


def without(joint: str) -> Callable[[Any], Any]:
    """Joint states that lack one joint."""

    def spoil(message: Any) -> Any:
        index = list(message.name).index(joint)
        del message.name[index], message.position[index]
        return message

    return spoil


def reading(joint: str, value: float) -> Callable[[Any], Any]:
    """Joint states with another value of one joint."""

    def spoil(message: Any) -> Any:
        message.position[list(message.name).index(joint)] = value
        return message

    return spoil


def in_degrees(message: Any) -> Any:
    """Joint states of an arm that does not publish rad."""
    return but(position=[*np.degrees(message.position[:7]), message.position[7]])(message)


def beside_zeros(message: Any) -> list[Any]:
    """Joint states beside those of a joint_state_publisher that nobody feeds, half a period later."""
    other = copy.deepcopy(message)
    other.position = [0.0] * len(message.name)
    other.header.stamp = time_message(stamp_ns(message) + 5_000_000)
    return [message, other]


def silent(message: Any) -> None:
    """Nothing comes any more."""


FAULTS = {
    "an unknown encoding": (RAW, but(encoding="of_its_own"), "of_its_own"),
    "truncated data": (RAW, cut(100), "only 100"),
    "a camera that stops": (RAW, silent, "newest image"),
    "a camera whose clock jumps back": (RAW, late_by(10), "jumped back"),
    "a camera whose clock jumps ahead": (RAW, late_by(-10), "in the future"),
    "a camera without stamps": (RAW, lambda message: late_by(stamp_ns(message) // NS_PER_S)(message), "old"),
    "a JPEG that ends early": (COMPRESSED, cut(1000), "1000 bytes without"),
    "a damaged JPEG": (COMPRESSED, overwritten, "do not decode"),
    "depth for color": (RAW, but(encoding="16UC1"), "depth"),
    "a missing joint": (JOINT_STATES, without("panda_joint4"), "joint state of panda_joint4 is"),
    "degrees": (JOINT_STATES, in_degrees, "fits degrees"),
    "two publishers that disagree": (JOINT_STATES, beside_zeros, "two that disagree: panda_joint4"),
    "NaN in the joint states": (JOINT_STATES, reading("panda_joint2", float("nan")), "panda_joint2 at nan"),
    "more names than positions": (JOINT_STATES, but(position=[0.0]), "positions"),
    "joint states that stop": (JOINT_STATES, silent, "newest joint state"),
    "joint states whose clock jumps back": (JOINT_STATES, late_by(10), "jumped back"),
}
"""What it is: stream, how it is spoiled, what the reason must say besides the name of the stream."""


def names(stream: str, words: str, state: int) -> Callable[[PolicyStatus], bool]:
    """Whether a status is of a state and its reason names stream and cause."""
    stream_words = stream.replace("_", " ") if stream == JOINT_STATES else stream
    return lambda report: report.state == state and stream_words in report.reason and words in report.reason


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_in_a_run_holds_the_arm_until_it_is_gone(running: Play, what: str) -> None:
    stream, fault, words = FAULTS[what]
    operator = running.operator
    before = len(operator.recording.commands)
    running.robot.faults[stream] = fault
    report = operator.await_report(names(stream, words, PolicyStatus.HOLDING), "HOLDING with reason", REPORTS)
    assert report.instruction
    running.graph.spend(ARRIVAL_S)
    stopped = len(operator.recording.commands)
    for commands in operator.trajectories(since=before).values():
        assert_continuous(commands)
        assert_at_rest_in_the_end(commands[-1])
    running.graph.spend(0.5)
    assert len(operator.recording.commands) == stopped, "an arm that holds is left alone"
    now_ns = running.graph.now_ns()
    assert all(commands[-1].end_ns < now_ns + NS_PER_S for commands in operator.trajectories().values())
    del running.robot.faults[stream]
    operator.await_following()
    for commands in operator.trajectories(since=before).values():
        assert_continuous(commands)


@pytest.mark.parametrize("what", ["truncated data", "a camera that stops", "a missing joint"])
def test_a_fault_before_the_first_chunk_moves_nothing(play: Play, what: str) -> None:
    stream, fault, words = FAULTS[what]
    operator = play.operator
    play.robot.faults[stream] = fault
    play.graph.spend(0.5)
    before = len(operator.recording.commands)
    run = operator.run("put the red cube into the bowl")
    operator.await_report(names(stream, words, PolicyStatus.WAITING), "WAITING with reason", REPORTS)
    assert len(operator.recording.commands) == before
    del play.robot.faults[stream]
    operator.await_following()
    run.cancel()
    run.result()


def test_another_size_is_resized_and_said_once(running: Play) -> None:
    graph, operator = running.graph, running.operator
    large = np.zeros((480, 640, 3), np.uint8)
    running.robot.faults[RAW] = lambda message: image_message(large, stamp_ns(message), RAW)
    first, chunks = len(operator.reports), len(operator.recording.chunks)
    graph.wait(lambda: len(operator.recording.chunks) >= chunks + 3, "chunks of large images")
    assert not [report.reason for report in operator.reports[first:] if RAW in report.reason]
    log = graph.log("policy_node")
    assert log.count("images of 640x480 are brought to 320x180 (letterbox)") == 1
    assert f"/{RAW}/image_raw" in log


def test_what_only_looks_different_is_taken(running: Play) -> None:
    """An arm, its hand and wheels apart on one topic, and a camera that sends a mosaic: the run goes on."""
    graph, operator, faults = running.graph, running.operator, running.robot.faults
    faults[JOINT_STATES], faults[RAW] = in_parts, encoded_as("bayer_rggb8")
    graph.spend(ARRIVAL_S)
    first, chunks = len(operator.reports), len(operator.recording.chunks)
    graph.wait(lambda: len(operator.recording.chunks) >= chunks + 3, "chunks")
    new = operator.reports[first:]
    assert not [report.reason for report in new if "joint states" in report.reason or RAW in report.reason]
    assert all(0 <= report.joint_state_age_s < 1 for report in new)


def test_an_empty_instruction_is_refused(play: Play) -> None:
    result = play.operator.run("  ").result()
    assert result.outcome == RunPolicy.Result.FAULT
    assert "instruction is empty" in result.reason
    refused = play.operator.set_instruction("put it down")
    assert not refused.success and "no run" in refused.message


def test_an_empty_instruction_leaves_the_one_in_force(running: Play) -> None:
    refused = running.operator.set_instruction("")
    assert not refused.success and "instruction is empty" in refused.message
    report = running.operator.await_following()
    assert report.instruction == "put the red cube into the bowl"
