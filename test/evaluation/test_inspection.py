# SPDX-License-Identifier: Apache-2.0
"""The first pass finds what a robot needs, and names everything that stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import (
    NS,
    START_NS,
    Message,
    command,
    compressed,
    header,
    image,
    in_parts,
    joint_state,
    session,
    write,
)
from encoded import encode

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.inspection import Inspection, inspect
from dreamzero_ros.evaluation.streams import streams

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
WRIST = "/wrist_image_left/image_raw"
JOINTS = "/joint_states"
ARM = "/panda_arm_controller/joint_trajectory"


def look(path: Path, topics: dict[str, str] | None = None) -> Inspection:
    with Bag(path) as bag:
        return inspect(bag, ROBOT, streams(ROBOT, topics))


def changed(topic: str, change: Callable[[Any], Any]) -> list[Message]:
    """A session with other messages on a topic; None leaves one out."""
    messages = [(t, at, change(m) if t == topic else m) for t, at, m in session(ROBOT)]
    return [message for message in messages if message[2] is not None]


def stamp(message: Any) -> int:
    return int(message.header.stamp.sec * NS + message.header.stamp.nanosec)


def later(message: Any) -> bool:
    """Whether a message is of the second half of the session."""
    return stamp(message) >= START_NS + NS


def test_a_whole_session_is_usable(tmp_path: Path) -> None:
    messages = session(ROBOT)
    imu = [("/extra/joint_states", START_NS, joint_state(START_NS, ["x"]))]
    found = look(write(tmp_path / "bag", messages + imu))
    assert found.usable and not found.notices
    assert [report.times.count for report in found.streams] == [30] * 6
    assert [report.content for report in found.streams] == [
        *["16x8 rgb8"] * 3,
        "8 of 8 joints",
        "7 of 7 joints",
        "1 of 1 joints",
    ]
    assert all(report.times.rate_hz == pytest.approx(15) for report in found.streams)
    assert [topic.name for topic in found.unused] == ["/extra/joint_states"]
    assert found.common_ns == (START_NS, START_NS + 29 * NS // 15)
    delays = {report.times.most_delay_ns for report in found.streams[:4]}
    assert delays == {2_000_000}


def test_without_commands_it_is_usable_and_said(tmp_path: Path) -> None:
    found = look(write(tmp_path / "bag", changed(ARM, lambda message: None)))
    assert found.usable
    assert "commands are not used" in found.notices[0] and "none of that name; record it" in found.notices[0]


def test_compressed_images_on_another_topic(tmp_path: Path) -> None:
    messages = changed(WRIST, lambda message: compressed(stamp(message), 32, 18))
    messages = [(t.replace(WRIST, f"{WRIST}/compressed"), at, m) for t, at, m in messages]
    path = write(tmp_path / "bag", messages)
    assert "--topic wrist_image_left:=/wrist_image_left/image_raw/compressed" in look(path).problems[0].fix
    found = look(path, {"wrist_image_left": f"{WRIST}/compressed"})
    assert found.usable and found.streams[2].content == "32x18 jpeg"


def renamed(message: Any) -> Any:
    message.name = [name.replace("panda", "fr3") for name in message.name]
    return message


def halved(message: Any) -> Any:
    if not later(message):
        message.name, message.position = message.name[:4], message.position[:4]
    return message


def unstamped(message: Any) -> Any:
    message.header = header(0)
    return message


def on_another_clock(message: Any) -> Any:
    message.header = header(stamp(message) - START_NS + NS)
    return message


def damaged(message: Any) -> Any:
    broken = compressed(stamp(message))
    broken.data = broken.data[:3]
    return broken


def not_a_number(message: Any) -> Any:
    message.position[3] = np.nan
    return message


def in_degrees(message: Any) -> Any:
    message.position[:7] = np.degrees(message.position[:7])
    return message


def in_mm(message: Any) -> Any:
    message.position[7] *= 1000
    return message


def beside_zeros(message: Any) -> Any:
    """Every second message is of a joint_state_publisher that nobody feeds."""
    message.position *= round(15 * (stamp(message) - START_NS) / NS) % 2
    return message


PROBLEMS: Sequence[tuple[str, str, Callable[[Any], Any], str, str]] = [
    ("a topic is missing", WRIST, lambda m: None, "none of that name", "record it, the bag has no other"),
    ("joint states are missing", JOINTS, lambda m: None, "none of that name", "record it, the bag has no"),
    ("another type", WRIST, lambda m: joint_state(stamp(m), ["x"]), "JointState", "record it"),
    ("no joint fits", JOINTS, renamed, "no panda_joint1, panda_joint2", "did you mean 'fr3_joint1'?"),
    ("an encoding", WRIST, lambda m: image(stamp(m), encoding="16UC1"), "16UC1", "color image"),
    ("damaged images", WRIST, damaged, "without", "losses"),
    ("no stamps", WRIST, unstamped, "none in 30 messages", "header.stamp"),
    ("NaN", JOINTS, not_a_number, "panda_joint4 at nan (30 of 30 messages)", "driver"),
    ("degrees", JOINTS, in_degrees, "which fits degrees (30 of 30 messages)", "publish rad"),
    ("a gripper in mm", JOINTS, in_mm, "which fits mm (30 of 30 messages)", "publish m"),
    ("two clocks", JOINTS, on_another_clock, "beginning 1699999997.1 s after the end of", "one clock"),
]


@pytest.mark.parametrize(
    ("topic", "change", "got", "fix"), [row[1:] for row in PROBLEMS], ids=[r[0] for r in PROBLEMS]
)
def test_what_stands_in_the_way_is_named(
    tmp_path: Path, topic: str, change: Callable[[Any], Any], got: str, fix: str
) -> None:
    found = look(write(tmp_path / "bag", changed(topic, change)))
    assert not found.usable and len(found.problems) == 1
    problem = found.problems[0]
    assert problem.file == tmp_path / "bag"
    assert got in problem.got and fix in problem.fix


def test_joint_states_in_parts_are_merged_and_wheels_are_somebody_elses(tmp_path: Path) -> None:
    found = look(write(tmp_path / "bag", in_parts(session(ROBOT))))
    assert found.usable and not found.notices
    states = found.streams[3]
    assert states.content == "8 of 8 joints, 2 other, in 2 parts"
    assert (states.times.count, states.times.gaps) == (30, 0)
    assert found.common_ns == (START_NS, START_NS + 29 * NS // 15)


def test_joints_that_come_later_are_there_from_then_on(tmp_path: Path) -> None:
    found = look(write(tmp_path / "bag", changed(JOINTS, halved)))
    assert found.usable and found.common_ns[0] == START_NS + NS
    assert found.streams[3].content == "8 of 8 joints, in 2 parts"


def test_parts_that_are_never_there_at_one_time(tmp_path: Path) -> None:
    """The hand by another clock: there is no moment at which the arm and the hand are known."""

    def late(entry: Message) -> Message:
        topic, log_ns, message = entry
        if topic == JOINTS and "panda_finger_joint1" in message.name:
            message.header = header(stamp(message) + 3600 * NS)
        return topic, log_ns, message

    found = look(write(tmp_path / "bag", map(late, in_parts(session(ROBOT)))))
    (problem,) = found.problems
    assert problem.expected == "joint states of one time" and "one clock" in problem.fix
    assert problem.got.startswith("panda_finger_joint1 3600.0")


def test_two_publishers_that_disagree_are_a_problem(tmp_path: Path) -> None:
    found = look(write(tmp_path / "bag", changed(JOINTS, beside_zeros)))
    jump, dispute = found.problems
    assert "positions without jumps" in str(jump) and "(1 of 30 messages)" in jump.got
    assert dispute.expected == "one publisher of each joint" and "(28 of 30 messages)" in dispute.got
    assert "end one of them" in dispute.fix


def test_a_few_joint_states_that_cannot_be_used_are_counted_and_leave_a_gap(tmp_path: Path) -> None:
    def change(message: Any) -> Any:
        return not_a_number(message) if NS // 2 < stamp(message) - START_NS < NS else message

    found = look(write(tmp_path / "bag", changed(JOINTS, change)))
    said = "\n".join(found.notices)
    assert found.usable
    assert (
        "7 of 30 messages cannot be used, the first: expected finite positions, got panda_joint4 at nan"
        in said
    )
    assert "1 x no message for more than 100 ms, so no frame; the longest for 0.53 s" in said


def test_an_encoding_that_is_read_is_usable(tmp_path: Path) -> None:
    def mosaic(message: Any) -> Any:
        rgb = message.data.reshape(message.height, message.width, 3)
        data, step = encode(rgb, "bayer_rggb8")
        message.encoding, message.data, message.step = "bayer_rggb8", np.frombuffer(data, np.uint8), step
        return message

    found = look(write(tmp_path / "bag", changed(WRIST, mosaic)))
    assert found.usable and not found.notices and found.streams[2].content == "16x8 bayer_rggb8"


def test_every_image_that_ends_early_is_counted(tmp_path: Path) -> None:
    """Not the first one of its kind alone: a link that loses data spoils some in the middle."""

    def cut(message: Any) -> Any:
        message.data = message.data[: -later(message) or None]
        return message

    found = look(write(tmp_path / "bag", changed(WRIST, cut)))
    counted = "15 of 30 messages cannot be used, the first: expected 384 bytes for 16x8, got only 383"
    assert any(counted in notice for notice in found.notices)
    assert found.streams[2].times.count == 15


def test_the_most_alike_of_the_unused_topics_is_proposed(tmp_path: Path) -> None:
    others = [(f"/{name}", START_NS, image(START_NS)) for name in ("depth", "wrist/color/image_raw", "top")]
    found = look(write(tmp_path / "bag", changed(WRIST, lambda message: None) + others))
    fix = "try --topic wrist_image_left:=/wrist/color/image_raw (there are also "
    assert found.problems[0].fix.startswith(fix)
    assert "exterior" not in found.problems[0].fix


def test_messages_that_are_announced_and_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", session(ROBOT))
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 30", "message_count: 31"))
    assert f"{WRIST}: 30 messages, though the bag announces 31" in look(path).notices


def test_a_topic_without_messages(tmp_path: Path) -> None:
    messages = changed(WRIST, lambda message: None)
    path = write(tmp_path / "bag", messages, announced=[(WRIST, "sensor_msgs/msg/Image")])
    (problem,) = look(path).problems
    assert (problem.what, problem.got) == ("wrist_image_left", "none")


def test_a_change_of_size_says_when(tmp_path: Path) -> None:
    found = look(write(tmp_path / "bag", changed(WRIST, lambda m: image(stamp(m), 8, 8) if later(m) else m)))
    assert found.usable
    assert "the size changes, first after 1.0 s (16x8 rgb8, 8x8 rgb8)" in found.notices[0]


def test_commands_of_other_joints_are_not_used(tmp_path: Path) -> None:
    def other(message: Any) -> Any:
        message.joint_names = ["fr3_joint1"]
        return message

    found = look(write(tmp_path / "bag", changed(ARM, other)))
    assert found.usable and found.streams[4].problems
    assert "did you mean 'fr3_joint1'?" in found.notices[0]


def test_a_trajectory_without_joints_stops_an_arm_and_is_no_fault(tmp_path: Path) -> None:
    found = look(write(tmp_path / "bag", [*session(ROBOT), (ARM, START_NS + NS, command(0, []))]))
    assert found.usable and not found.notices


def test_gaps_and_jumps_are_said(tmp_path: Path) -> None:
    def change(message: Any) -> Any:
        at = stamp(message)
        if START_NS + NS // 5 < at < START_NS + NS // 2:
            return None
        message.header = header(at - 5 * NS if later(message) else at)
        return message

    found = look(write(tmp_path / "bag", changed(WRIST, change)))
    notices = "\n".join(found.notices)
    assert "1 x no message for more than 140 ms, so no frame; the longest for 0.33 s, after 0.2 s" in notices
    assert "1 x a stamp is earlier than those before" in notices
    assert "1 x a clock jumps (stamp against log time), first after 1.0 s" in notices


def test_a_few_damaged_images_are_counted_not_refused(tmp_path: Path) -> None:
    def change(message: Any) -> Any:
        at = stamp(message)
        return damaged(message) if at == START_NS else compressed(at)

    found = look(write(tmp_path / "bag", changed(WRIST, change)))
    assert found.usable
    assert "1 of 30 messages cannot be used, the first: expected 'jpeg' data with an end" in found.notices[0]
