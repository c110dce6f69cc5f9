# SPDX-License-Identifier: Apache-2.0
"""Joint states that come in several messages give the frames that whole messages give."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Sequence

import bags
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.embodiment.frame import Frame
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.buffer import JOINT_STATES, Missing, ObservationBuffer
from dreamzero_ros.observation.intake import Intake

pytestmark = pytest.mark.cpu

DROID = load("droid_franka")
ROBOT = dataclasses.replace(
    DROID, cameras=tuple(dataclasses.replace(camera, width=2, height=1) for camera in DROID.cameras)
)
"""DROID with tiny images."""
JOINTS = ROBOT.state_joints
ARM, HAND = JOINTS[:7], JOINTS[7:]
POSE = np.array([ROBOT.start_pose[joint] for joint in JOINTS])
SPEEDS = 0.1 * np.array([1, -1, 1, 1, -1, 1, -1, -0.01])
START_NS, MS = bags.START_NS, 1_000_000
TOLERANCE_MS = round(1000 * ROBOT.joint_tolerance_s)
COLUMNS = {joint: column for column, joint in enumerate(JOINTS)}

Sent = tuple[int, tuple[str, ...]]
"""Stamp after the begin [ms], and the joints that a message names."""


def positions(time_ms: float) -> np.ndarray:
    """(J,) of a robot that moves, not quite evenly."""
    return POSE + SPEEDS * np.sin(time_ms / 1000) + SPEEDS * time_ms / 1000


def joint_state(sent: Sent) -> object:
    time_ms, names = sent
    here = positions(time_ms)
    values = [here[COLUMNS[name]] if name in COLUMNS else 7.0 for name in names]
    return bags.joint_state(START_NS + time_ms * MS, names, values)


def seen(messages: Sequence[Sent], image_ms: int) -> ObservationBuffer:
    """A buffer with one image of each camera and these joint states, all of them used or foreign."""
    buffer, notes = ObservationBuffer(ROBOT, 10.0), {}
    intake = Intake(buffer, notes)
    for camera in ROBOT.cameras:
        buffer.add_image(camera.name, START_NS + image_ms * MS, np.zeros((1, 2, 3), np.uint8))
    for sent in messages:
        assert intake.joint_state(joint_state(sent), "/joint_states") is not sent[1][0].startswith("wheel")
    return buffer


def frame(buffer: ObservationBuffer, image_ms: int) -> Frame | Missing:
    return buffer.frame(1, "wave", START_NS + image_ms * MS)


splits = st.lists(st.integers(0, 3), min_size=len(JOINTS), max_size=len(JOINTS)).map(
    lambda numbers: [
        tuple(joint for joint, of in zip(JOINTS, numbers, strict=True) if of == number)
        for number in sorted(set(numbers))
    ]
)
"""The joints in one to four groups."""


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), splits), min_size=1, max_size=8, unique_by=lambda entry: entry[0]
    ),
    st.integers(0, 200),
    st.randoms(use_true_random=False),
)
def test_any_split_in_any_order_is_the_same_as_whole_messages(moments, image_ms, random):
    """Each moment is split in its own way, with wheels between, and everything comes in any order."""
    parts = [(time_ms, names) for time_ms, groups in moments for names in groups]
    parts += [(random.randint(0, 200), ("wheel_left", "wheel_right")) for _ in range(4)]
    random.shuffle(parts)
    split = seen(parts, image_ms)
    whole = seen([(time_ms, JOINTS) for time_ms, _ in moments], image_ms)
    found, expected = frame(split, image_ms), frame(whole, image_ms)
    assert type(found) is type(expected)
    if isinstance(expected, Frame):
        np.testing.assert_array_equal(found.positions, expected.positions)
    newest, expected_newest = split.newest_positions(), whole.newest_positions()
    assert newest[0] == expected_newest[0] == START_NS + max(time_ms for time_ms, _ in moments) * MS
    np.testing.assert_array_equal(newest[1], expected_newest[1])
    np.testing.assert_array_equal(split.newest_of_each(), newest[1])
    np.testing.assert_array_equal(newest[1], positions((newest[0] - START_NS) // MS), "as it came")


def naive(messages: Sequence[Sent], joint: str, time_ms: int) -> tuple[int, float]:
    """Distance [ms] of the nearest message that names a joint, and its interpolated position."""
    times = sorted(at_ms for at_ms, names in messages if joint in names)
    known = [positions(at_ms)[COLUMNS[joint]] for at_ms in times]
    after = bisect_left(times, time_ms)
    if after in (0, len(times)):
        nearest = min(after, len(times) - 1)
        return abs(times[nearest] - time_ms), known[nearest]
    begin_ms, end_ms = times[after - 1], times[after]
    share = (time_ms - begin_ms) / (end_ms - begin_ms)
    return min(time_ms - begin_ms, end_ms - time_ms), known[after - 1] + share * (
        known[after] - known[after - 1]
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sets(st.sampled_from(JOINTS), min_size=1).map(tuple)),
        min_size=1,
        max_size=14,
        unique_by=lambda entry: entry[0],
    ),
    st.integers(0, 400),
    st.booleans(),
)
def test_each_joint_is_as_fresh_as_its_own_messages(messages, image_ms, whole_too):
    """Overlapping sets of joints at any times: what no message within the tolerance names is missing."""
    messages += [(401 + len(messages), JOINTS)] if whole_too else []
    found = frame(seen(messages, image_ms), image_ms)
    unheard = set(JOINTS) - {joint for _, names in messages for joint in names}
    if unheard:
        assert isinstance(found, Missing) and found.stream == JOINT_STATES
        assert all(joint in found.reason for joint in unheard)
        return
    expected = {joint: naive(messages, joint, image_ms) for joint in JOINTS}
    late = {joint for joint, (distance_ms, _) in expected.items() if distance_ms > TOLERANCE_MS}
    if late:
        assert isinstance(found, Missing)
        assert any(joint in found.reason for joint in late) or late == set(JOINTS)
        assert "none" in found.reason and "the tolerance is 50 ms" in found.reason
        return
    np.testing.assert_array_equal(found.positions, [value for _, value in expected.values()])


def apart(seconds: float = 1.0) -> list[Sent]:
    """The arm at 100 Hz; the hand at 25 Hz, at other times."""
    arm = [(10 * number, ARM) for number in range(round(100 * seconds))]
    return sorted(arm + [(40 * number + 3, HAND) for number in range(round(25 * seconds))])


def test_a_publisher_that_went_silent_is_named_with_its_age() -> None:
    buffer = seen([sent for sent in apart() if sent[1] == ARM or sent[0] < 600], 990)
    buffer.max_age_s = 0.3
    missing = frame(buffer, 990)
    assert missing == Missing(
        JOINT_STATES,
        "joint states: newest joint state of panda_finger_joint1 is 427 ms old, the limit is 300 ms",
    )
    buffer.max_age_s = 1.0
    assert "none of panda_finger_joint1 at the newest image set: the nearest is 427 ms away" in (
        frame(buffer, 990).reason
    )
    assert buffer.ages_s(START_NS + 990 * MS)[JOINT_STATES] == pytest.approx(0.427)


def test_the_newest_positions_are_of_one_moment() -> None:
    """The arm, which is ahead of the hand, at the hand's time; beside it the newest of each by itself."""
    buffer = seen(apart(), 990)
    stamp_ns, found = buffer.newest_positions()
    assert stamp_ns == START_NS + 963 * MS
    np.testing.assert_allclose(found, positions(963), atol=1e-5)
    newest = buffer.newest_of_each()
    np.testing.assert_array_equal(newest[:7], positions(990)[:7])
    np.testing.assert_array_equal(newest[7:], positions(963)[7:])
    assert seen([sent for sent in apart() if sent[1] == ARM], 990).newest_positions() is None


def test_a_clock_that_jumps_back_restarts_its_part_only() -> None:
    buffer = seen(apart(5.0), 4990)
    intake = Intake(buffer, {})
    assert intake.joint_state(joint_state((3, HAND)), "/joint_states")
    assert buffer.counts()[JOINT_STATES].restarts == 1
    buffer.max_age_s = 0.3
    assert "of panda_finger_joint1 is 4987 ms old" in frame(buffer, 4990).reason
    assert "jumped back by 4960 ms" in frame(buffer, 4990).reason
    np.testing.assert_array_equal(buffer.newest_of_each()[:7], positions(4990)[:7])
