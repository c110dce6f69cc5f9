# SPDX-License-Identifier: Apache-2.0
"""What was commanded, against the definition: the newest trajectory, sampled as a controller does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from bags import NS, START_NS, T
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BPoly

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.inspection import inspect
from dreamzero_ros.evaluation.reference import COMMANDS, JOINT_STATES, Reference
from dreamzero_ros.evaluation.streams import streams

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
STREAMS = streams(ROBOT)
ARM, GRIPPER = ROBOT.controllers
START = np.array([ROBOT.start_pose[joint] for joint in ROBOT.state_joints])
SPEED = np.where(np.isin(ROBOT.state_joints, ROBOT.gripper_joints), -0.005, 0.1)
"""Of the joints [rad/s or m/s]."""
COMMAND_NS = START_NS + NS
"""Log time of the first command."""


def trajectory(names: Sequence[str], times_s: Sequence[float], *states: np.ndarray, stamp_ns: int = 0) -> Any:
    """Points at times; states are positions, velocities, accelerations (N, n)."""
    points = []
    for index, time_s in enumerate(times_s):
        given_ = [np.array(state[index], np.float64) for state in states]
        given_ += [np.zeros(0)] * (3 - len(given_))
        after = T["builtin_interfaces/msg/Duration"](sec=int(time_s), nanosec=round(time_s % 1 * NS))
        points.append(T["trajectory_msgs/msg/JointTrajectoryPoint"](*given_, np.zeros(0), after))
    return T["trajectory_msgs/msg/JointTrajectory"](bags.header(stamp_ns), list(names), points)


def states(seconds: float = 6.0, rate_hz: int = 50) -> list[bags.Message]:
    """Every joint moves evenly from the start pose on."""
    messages: list[bags.Message] = []
    for step in range(round(seconds * rate_hz)):
        stamp = START_NS + step * NS // rate_hz
        message = bags.joint_state(stamp, ROBOT.state_joints, (START + SPEED * step / rate_hz).tolist())
        messages.append(("/joint_states", stamp + 1_000_000, message))
    return messages


def asked(folder: Path, commands: Sequence[tuple[int, Any]], times_s: Sequence[float]) -> np.ndarray:
    """The reference at times [s after the first command] by commands (log time [ns], message) of the arm."""
    messages = states() + [(f"/{ARM.name}/joint_trajectory", log_ns, message) for log_ns, message in commands]
    path = bags.write(folder, sorted(messages, key=lambda entry: entry[1]))
    reference = Reference(path, ROBOT, STREAMS, START_NS)
    try:
        assert reference.kind == (COMMANDS if commands else JOINT_STATES)
        return reference.at(COMMAND_NS + np.rint(np.array(times_s) * NS).astype(np.int64))
    finally:
        reference.close()


def measured(time_s: float) -> np.ndarray:
    """Of the arm, at a time after the first command."""
    return (START + SPEED * (1 + time_s))[: len(ARM.joints)]


@given(seed=st.integers(0, 2**31), order=st.integers(1, 3), count=st.integers(2, 6))
@settings(max_examples=12, deadline=None, database=None)
def test_between_points_it_is_the_polynomial_that_meets_them(
    tmp_path_factory: pytest.TempPathFactory, seed: int, order: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    times_s = np.round(np.cumsum(rng.uniform(0.05, 0.5, count)) - 0.05, 9)
    values = [rng.normal(size=(count, len(ARM.joints))) for _ in range(order)]
    message = trajectory(ARM.joints, times_s, *values, stamp_ns=COMMAND_NS)
    wanted_s = np.sort(rng.uniform(times_s[0], times_s[-1], 9))
    found = asked(tmp_path_factory.mktemp("bag") / "bag", [(COMMAND_NS, message)], wanted_s)
    for column in range(len(ARM.joints)):
        expected = BPoly.from_derivatives(times_s, np.stack([v[:, column] for v in values], axis=1))
        np.testing.assert_allclose(found[:, column], expected(wanted_s), atol=1e-6)


def test_single_points_are_gone_to_straight_and_held(tmp_path: Path) -> None:
    """The first from where the arm is measured, the next from where the arm was told to be by then."""
    one, two = np.full(len(ARM.joints), 2.0), np.full(len(ARM.joints), 3.0)
    commands = [
        (COMMAND_NS, trajectory(ARM.joints, [0.4], one[None])),
        (COMMAND_NS + NS // 5, trajectory(ARM.joints, [0.2], two[None])),
    ]
    found = asked(tmp_path / "bag", commands, [0.0, 0.1, 0.2, 0.3, 0.4, 3.0])[:, :7]
    begin = measured(-0.02)  # the newest that was logged
    half = begin + 0.5 * (one - begin)
    expected = [begin, begin + 0.25 * (one - begin), half, half + 0.5 * (two - half), two, two]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_newest_message_is_in_force_and_a_stamp_says_when_it_begins(tmp_path: Path) -> None:
    times_s = np.array([0.0, 1.0])
    commands = [
        (COMMAND_NS, trajectory(ARM.joints, times_s, np.outer([0, 1], np.ones(7)))),
        (
            COMMAND_NS + NS // 2,
            trajectory(ARM.joints[::-1], times_s, np.outer([5, 7], np.arange(7)), stamp_ns=COMMAND_NS),
        ),
    ]
    found = asked(tmp_path / "bag", commands, [0.25, 0.499, 0.5, 2.0])[:, :7]
    backwards = np.arange(7)[::-1]
    np.testing.assert_allclose(found, [np.full(7, 0.25), np.full(7, 0.499), 6 * backwards, 7 * backwards])


def test_nothing_is_known_before_the_first_command_and_joints_without_one_are_measured(
    tmp_path: Path,
) -> None:
    message = trajectory(ARM.joints, [0.0], np.ones((1, 7)))
    found = asked(tmp_path / "bag", [(COMMAND_NS, message)], [-0.1, 0.5, 4.98, 5.5])
    assert np.isnan(found[0, :7]).all() and (found[1:, :7] == 1).all()
    gripper = ROBOT.state_joints.index(GRIPPER.joints[0])
    np.testing.assert_allclose(found[:3, 7], START[gripper] + SPEED[gripper] * np.array([0.9, 1.5, 5.98]))
    assert np.isnan(found[3, 7]), "the recording has ended"


def test_an_empty_message_stops_the_joints_of_its_controller(tmp_path: Path) -> None:
    commands = [
        (COMMAND_NS, trajectory(ARM.joints, [0.0, 1.0], np.outer([0, 1], np.ones(7)))),
        (COMMAND_NS + NS // 2, trajectory([], [])),
    ]
    np.testing.assert_allclose(asked(tmp_path / "bag", commands, [0.4, 2.0])[:, 0], [0.4, 0.5])


def velocities_only(count: int = 7) -> Any:
    return trajectory(ARM.joints, [0.0, 1.0], np.zeros((2, 0)), np.ones((2, count)))


def test_points_without_positions_say_nothing(tmp_path: Path) -> None:
    told = trajectory(ARM.joints, [0.0], np.ones((1, 7)))
    commands = [(COMMAND_NS, told), (COMMAND_NS + NS, velocities_only())]
    found = asked(tmp_path / "bag", commands, [0.5, 1.5])[:, :7]
    assert (found[0] == 1).all() and np.isnan(found[1]).all()


@pytest.mark.parametrize(
    "message",
    [
        velocities_only(),
        trajectory(ARM.joints, [0.0, 1.0]),
        trajectory(ARM.joints, [0.0], np.full((1, 7), np.nan)),
        trajectory(ARM.joints, [0.0], np.ones((1, 3))),
        trajectory(ARM.joints, []),
    ],
    ids=["velocities", "efforts", "NaN", "too few", "no points"],
)
def test_commands_that_never_say_where_are_none(tmp_path: Path, message: Any) -> None:
    """Inspection and reference judge alike."""
    commands = [(f"/{ARM.name}/joint_trajectory", COMMAND_NS, message)]
    path = bags.write(tmp_path / "bag", sorted([*states(), *commands], key=lambda entry: entry[1]))
    with closing(Reference(path, ROBOT, STREAMS, START_NS)) as reference:
        assert reference.kind == JOINT_STATES
        np.testing.assert_allclose(reference.at(np.array([COMMAND_NS + NS]))[0, :7], measured(1.0))
    with Bag(path) as bag:
        (report,) = (r for r in inspect(bag, ROBOT, STREAMS).streams if r.stream.name == ARM.name)
    assert report.problems and report.content == "0 of 7 joints"


def test_joints_that_are_never_told_where_are_measured(tmp_path: Path) -> None:
    positions = np.ones((1, 7))
    positions[0, 2] = np.nan
    message = trajectory(ARM.joints, [0.0], positions)
    found = asked(tmp_path / "bag", [(COMMAND_NS, message)], [1.0])[0, :7]
    np.testing.assert_allclose(found, np.where(np.arange(7) == 2, measured(1.0), 1.0))
    with Bag(tmp_path / "bag") as bag:
        notices = inspect(bag, ROBOT, STREAMS).streams[4].notices
    assert any("no positions for panda_joint3: compared with joint states" in words for words in notices)


def test_commands_for_other_joints_are_none(tmp_path: Path) -> None:
    message = trajectory([joint.replace("panda", "fr3") for joint in ARM.joints], [0.0], np.ones((1, 7)))
    commands = [(f"/{ARM.name}/joint_trajectory", COMMAND_NS, message)]
    path = bags.write(tmp_path / "bag", sorted([*states(), *commands], key=lambda entry: entry[1]))
    reference = Reference(path, ROBOT, STREAMS, START_NS)
    assert reference.kind == JOINT_STATES
    np.testing.assert_allclose(reference.at(np.array([COMMAND_NS + NS]))[0, :7], measured(1.0))
    reference.close()


def test_without_commands_it_is_where_the_joints_went(tmp_path: Path) -> None:
    found = asked(tmp_path / "bag", [], [0.0, 0.013, 1.0])
    np.testing.assert_allclose(found[:, :7], [measured(0.0), measured(0.013), measured(1.0)])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
@settings(max_examples=5, deadline=None, database=None)
def test_asking_step_by_step_or_at_once_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, gaps_s: list[float]
) -> None:
    """What is forgotten on the way was not needed any more."""
    times_s = np.cumsum(gaps_s)
    rng = np.random.default_rng(len(gaps_s))
    commands = [
        (COMMAND_NS + index * NS // 5, trajectory(ARM.joints, [0.0, 0.7], rng.normal(size=(2, 7))))
        for index in range(20)
    ]
    folder = tmp_path_factory.mktemp("bag")
    together = asked(folder / "bag", commands, times_s)
    reference = Reference(folder / "bag", ROBOT, STREAMS, START_NS)
    alone = [reference.at(np.array([COMMAND_NS + round(time_s * NS)])) for time_s in times_s]
    reference.close()
    np.testing.assert_array_equal(np.concatenate(alone), together)
