# SPDX-License-Identifier: Apache-2.0
"""Joint states are read by name; what cannot be the position of a joint is refused and counted."""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.observation.joint_states import DISPUTE_S, JointStateReader, outside
from dreamzero_ros.observation.judgement import ObservationError

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
JOINTS = ROBOT.state_joints
POSE = np.array([ROBOT.start_pose[joint] for joint in JOINTS])
TOPIC = "/joint_states"
START_NS, MS = 1_700_000_000_000_000_000, 1_000_000


def message(positions: Sequence[float] = POSE, names: Sequence[str] = JOINTS) -> Any:
    return SimpleNamespace(name=list(names), position=array.array("d", positions))


def at(joint: str, position: float) -> np.ndarray:
    """The start pose with another position of one joint."""
    positions = POSE.copy()
    positions[JOINTS.index(joint)] = position
    return positions


def read(reader: JointStateReader, positions: np.ndarray, at_ms: float) -> str:
    """Why a whole message is refused, in words; empty where it is not."""
    try:
        reading = reader.read(message(positions), START_NS + round(at_ms * MS), TOPIC)
    except ObservationError as error:
        return str(error)
    np.testing.assert_array_equal(reading.positions, positions)
    return ""


@given(st.permutations([*JOINTS, "left_wheel", "lift"]), st.integers(0, 10))
def test_joints_are_found_by_name(names, count):
    values = dict(zip(JOINTS, POSE, strict=True))
    named = names[:count]
    spoiled = message([values.get(name, np.nan) for name in named], named)
    reader = JointStateReader(ROBOT)
    reading = reader.read(spoiled, START_NS, TOPIC)
    columns = tuple(column for column, joint in enumerate(JOINTS) if joint in named)
    assert columns == reader.columns(spoiled, TOPIC)
    if not columns:
        assert reading is None and reader.judgement.foreign == reader.judgement.received == 1
        return
    assert reading.columns == columns and reader.judgement.used == 1
    np.testing.assert_array_equal(reading.positions, POSE[list(columns)])


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (
            message(at("panda_joint2", np.nan)),
            "finite positions, got panda_joint2 at nan; look at the robot's driver",
        ),
        (message(at("panda_joint1", -np.inf)), "panda_joint1 at -inf"),
        (message(POSE[:1]), "expected 8 positions, got 1"),
        (message([]), "expected 8 positions, got 0"),
        (message([*POSE, 0.0], [*JOINTS, JOINTS[0]]), "each joint once, got panda_joint1 twice"),
        (
            message([*np.degrees(POSE[:7]), 0.04]),
            "panda_joint4 at -144, limits -3.0718 to -0.0698 rad, which fits degrees; let the driver publish",
        ),
        (message(at("panda_joint7", 6.2)), "panda_joint7 at 6.2, .* rad, which fits .*a turn too many"),
        (message(at("panda_joint6", -40.0)), "panda_joint6 at -40, .* rad; look at the robot's driver"),
        (
            message(at("panda_finger_joint1", 40.0)),
            "limits 0 to 0.04 m, which fits mm; let the driver publish m",
        ),
        (message(at("panda_finger_joint1", 0.078)), "fits .*the width between two fingers"),
        (message(at("panda_finger_joint1", 0.9)), "fits .*a share of the travel"),
    ],
)
def test_what_cannot_be_used_is_refused(spoiled: Any, words: str) -> None:
    reader = JointStateReader(ROBOT)
    for count in (1, 2):
        with pytest.raises(ObservationError, match=words) as caught:
            reader.read(spoiled, START_NS + count, TOPIC)
        assert caught.value.topic == TOPIC
        assert reader.judgement.refused == count and reader.judgement.used == 0
    (sentence,) = reader.judgement.sentences()
    assert sentence.startswith("2 of 2 messages cannot be used, the first: expected ")
    assert caught.value.got in sentence and caught.value.fix in sentence


def test_a_ratio_in_percent_is_told() -> None:
    yam = load("yam")
    joint = "left_gripper"
    with pytest.raises(ObservationError, match="left_gripper at 80, limits 0 to 1 ratio, which fits percent"):
        JointStateReader(yam).read(message([80.0], [joint]), START_NS, TOPIC)


@pytest.mark.parametrize(
    ("position", "remarked"), [(-0.07, False), (-0.045, False), (-0.035, True), (0.6, True)]
)
def test_a_little_outside_the_limits_is_used_and_remarked(position: float, remarked: bool) -> None:
    reader = JointStateReader(ROBOT)
    assert read(reader, at("panda_joint4", position), 0) == ""
    assert len(reader.judgement.remarks) == remarked
    (found,) = outside(ROBOT, reader.newest) or [None]
    assert (found is None) == (position <= -0.0698)
    if remarked:
        assert (
            "1 of 1 messages: a joint is outside its limits, the first: panda_joint4 at"
            in (reader.judgement.sentences()[0])
        )


@given(
    st.lists(st.integers(0, 400), min_size=2, max_size=12, unique=True),
    st.floats(-1.0, 1.0),
    st.randoms(use_true_random=False),
)
def test_what_a_joint_can_do_is_never_refused(times_ms, share, random):
    """At its velocity limit, at any rate, in any order of arrival, with stamps off by the tolerance."""
    speeds = np.array([ROBOT.limits[joint].velocity for joint in JOINTS]) * share
    speeds[[1, 3, 5, 7]] = 0.0
    random.shuffle(times_ms)
    reader = JointStateReader(ROBOT)
    for time_ms in times_ms:
        off_ms = random.uniform(-0.5, 0.5) * 1000 * ROBOT.joint_tolerance_s
        assert read(reader, POSE + speeds * time_ms / 1000, time_ms + off_ms) == ""


def test_a_jump_is_refused_until_the_next_message_confirms_it() -> None:
    reader = JointStateReader(ROBOT)
    there = at("panda_joint1", 0.8)
    assert read(reader, POSE, 0) == ""
    words = read(reader, there, 10)
    assert (
        "positions without jumps, got panda_joint1 at 0 and 0.8 rad within 10 ms, its velocity limit" in words
    )
    assert read(reader, there, 20) == "" and reader.complaint == ""


def test_a_joint_that_is_faster_than_its_limit_is_used_and_remarked() -> None:
    """Limits of a robot file may be lower than what the arm does in a recording."""
    robot = slower(ROBOT, 0.2)
    reader = JointStateReader(robot)
    refused = [read(reader, at("panda_joint1", 0.05 * number), 20 * number) for number in range(9)]
    assert [bool(words) for words in refused] == [False, True, *[False] * 7]
    assert reader.judgement.remarks["a joint moves faster than its velocity limit"].count == 7


def slower(robot: Embodiment, velocity: float) -> Embodiment:
    limits = {joint: dataclasses.replace(limit, velocity=velocity) for joint, limit in robot.limits.items()}
    return dataclasses.replace(robot, limits=limits)


def test_a_gripper_that_only_reports_that_it_has_closed_is_used() -> None:
    reader = JointStateReader(ROBOT)
    for time_ms, width in ((0, 0.04), (20, 0.04), (40, 0.0), (60, 0.0), (500, 0.0), (520, 0.04)):
        assert read(reader, at("panda_finger_joint1", width), time_ms) == ""
    assert not reader.judgement.sentences()


DISAGREE = "expected one publisher of each joint, got two that disagree: "


@pytest.mark.parametrize("rates_hz", [(100, 100), (100, 10), (10, 100), (30, 25), (1000, 1)])
@pytest.mark.parametrize(
    ("joint", "other"), [("panda_joint4", 0.0), ("panda_joint1", 0.4), ("panda_finger_joint1", 0.0)]
)
def test_two_publishers_that_disagree_give_no_positions(
    rates_hz: tuple[int, int], joint: str, other: float
) -> None:
    """A simulated joint_state_publisher beside the robot: none of the two is believed."""
    reader = JointStateReader(ROBOT)
    sent = [(1000 * number / rates_hz[0], POSE) for number in range(3 * rates_hz[0])]
    sent += [(1000 * number / rates_hz[1] + 503, at(joint, other)) for number in range(2 * rates_hz[1])]
    sent.sort(key=lambda entry: entry[0])
    used = [(at_ms, positions) for at_ms, positions in sent if not read(reader, positions, at_ms)]
    first_ms = 503 + 1000 / min(rates_hz)
    assert all(at_ms <= first_ms for at_ms, _ in used)
    if rates_hz[1] <= rates_hz[0] and joint not in ROBOT.gripper_joints:
        assert all(positions is POSE for _, positions in used)
    finding = reader.judgement.refusals["one publisher of each joint"]
    assert joint in finding.got and "ros2 topic info -v" in finding.fix and finding.count > 2


def test_a_dispute_is_over_once_one_publisher_is_left() -> None:
    reader = JointStateReader(ROBOT)
    for number in range(6):
        read(reader, at("panda_joint1", 0.5 * (number % 2)), 10 * number)
    assert DISAGREE + "panda_joint1 at" in read(reader, POSE, 60)
    assert DISAGREE in read(reader, POSE, 59 + 1000 * DISPUTE_S)
    assert read(reader, POSE, 61 + 1000 * DISPUTE_S) == "" and reader.complaint == ""
    assert read(reader, POSE, 70) == "", "a clock that is set back does not bring it up again"


def test_one_stamp_with_two_positions() -> None:
    """A little apart, the later one stands; so far apart that one must be wrong, none is believed."""
    reader = JointStateReader(ROBOT)
    assert read(reader, POSE, 0) == read(reader, POSE, 0) == ""
    assert not reader.judgement.remarks
    assert read(reader, at("panda_joint3", 0.01), 0) == ""
    (sentence,) = reader.judgement.sentences()
    assert (
        "1 of 3 messages: a stamp comes again with other positions, the first: panda_joint3 differs"
        in sentence
    )
    assert DISAGREE + "panda_joint3 at 0.01 and 0.7 rad within 0 ms" in read(
        reader, at("panda_joint3", 0.7), 0
    )


def test_a_clock_that_is_set_back_is_no_dispute() -> None:
    """A recording that is played in a loop."""
    reader = JointStateReader(ROBOT)
    for _ in range(2):
        for number in range(20):
            assert read(reader, at("panda_joint1", 0.1 * number), 100 * number) == ""
