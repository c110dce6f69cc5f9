# SPDX-License-Identifier: Apache-2.0
"""An evaluation over bags of which most have something wrong: each is named, the others are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
import recordings
from bags import NS, START_NS, Message

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.run_command import INCOMPLETE
from dreamzero_ros.evaluation.summary import read_summary

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
SECONDS = 3.0
WRIST, JOINTS, ARM = "/wrist_image_left/image_raw", "/joint_states", "/panda_arm_controller/joint_trajectory"
MESSAGES = recordings.session(ROBOT, recordings.ramp(ROBOT), SECONDS)

Make = Callable[[Path], object]
"""Writes a bad bag under the name given."""


def changed(topic: str, change: Callable[[int, Any], Any | None]) -> Iterator[Message]:
    """The messages, with those of a topic changed by their number, or left out."""
    number = 0
    for name, log_ns, message in MESSAGES:
        if name != topic:
            yield name, log_ns, message
            continue
        other = change(number, message)
        number += 1
        if other is not None:
            yield name, log_ns, other


def with_change(topic: str, change: Callable[[int, Any], Any | None]) -> Make:
    return lambda path: bags.write(path, changed(topic, change))


def as_file(path: Path, data: bytes) -> None:
    """One file, in place of the folder."""
    path.with_suffix(".mcap").write_bytes(data)


def whole(path: Path) -> bytes:
    """The file of a good bag."""
    folder = path.parent.parent / path.name
    bags.write(folder, MESSAGES)
    return (folder / f"{path.name}.mcap").read_bytes()


def truncated(path: Path) -> None:
    data = whole(path)
    as_file(path, data[: len(data) // 2])


def without_index(path: Path) -> None:
    data = bytearray(whole(path))
    data[-28:-12] = bytes(16)  # the footer points to no summary
    as_file(path, bytes(data))


def overlapping(path: Path) -> None:
    parts = [
        bags.write(path.parent.parent / f"part_{n}", [(t, log_ns + n * NS, m) for t, log_ns, m in MESSAGES])
        for n in range(2)
    ]
    bags.join(path, parts)


def empty(path: Path) -> None:
    bags.write(path, [], announced=[(JOINTS, "sensor_msgs/msg/JointState")])


def smaller_later(number: int, message: Any) -> Any:
    half = recordings.picture(number, 2, 32, 18)
    return message if number < 20 else recordings.image(START_NS + number * NS // 15, half)


def of_another_arm(number: int, message: Any) -> Any:
    kind = type(message)
    names = [name.replace("panda", "fr3") for name in message.name]
    return kind(message.header, names, message.position, message.velocity, message.effort)


def of_another_controller(number: int, message: Any) -> Any:
    kind = type(message)
    return kind(
        message.header, [name.replace("panda", "fr3") for name in message.joint_names], message.points
    )


def cut_short(number: int, message: Any) -> Any:
    if number != 10:
        return message
    fields = {name: getattr(message, name) for name in message.__dataclass_fields__ if name[0] != "_"}
    return type(message)(**{**fields, "data": np.zeros(10, np.uint8)})


REFUSED: dict[str, tuple[Make, str, str]] = {
    "truncated": (truncated, "a whole .mcap file", "mcap recover"),
    "no_wrist": (with_change(WRIST, lambda number, message: None), f"topic {WRIST}", "record it"),
    "empty": (empty, "messages", "look whether the recorder could hear the publishers"),
    "joints": (with_change(JOINTS, of_another_arm), "no panda_joint1", "did you mean 'fr3_joint1'?"),
    "overlapping": (overlapping, "part_0.mcap and part_1.mcap for more than 1 s", "one recording per folder"),
}
"""By name of the bag: how it is made, what is said of it, and what is to be done."""

EVALUATED: dict[str, tuple[Make, str]] = {
    "no_index": (without_index, "no_index.mcap has no index: it is read from front to back"),
    "controllers": (with_change(ARM, of_another_controller), "commands are not used: "),
    "one_image": (with_change(WRIST, cut_short), "wrist_image_left: 1 of "),
    "sizes": (
        with_change(WRIST, smaller_later),
        "the size changes, first after 1.3 s (32x18 rgb8, 64x36 rgb8)",
    ),
    "good": (lambda path: bags.write(path, MESSAGES), ""),
}
"""By name of the bag: how it is made, and what the report says of it."""


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report over all of them."""
    folder = tmp_path_factory.mktemp("evaluation") / "bags"
    folder.mkdir()
    for name, (make, *_) in {**REFUSED, **EVALUATED}.items():
        make(folder / name)
    out = folder.parent / "out"
    options = [
        "--embodiment",
        "droid_franka",
        "--policy",
        "hold",
        "--latency",
        "0.2",
        "--instruction",
        "wipe",
    ]
    assert main(["run", str(folder), *options, "--out", str(out)]) == INCOMPLETE
    assert not list(out.rglob("*.part"))
    return read_summary(out)


def test_nothing_is_left_out_in_silence(summary: dict[str, Any]) -> None:
    assert {Path(entry["bag"]).stem for entry in summary["failed"]} == set(REFUSED)
    assert {Path(entry["bag"]).stem for entry in summary["episodes"]} == set(EVALUATED)
    assert all(entry["calls"] for entry in summary["episodes"])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_named_with_a_fix(summary: dict[str, Any], name: str) -> None:
    (words,) = (entry["error"] for entry in summary["failed"] if Path(entry["bag"]).stem == name)
    _, said, fix = REFUSED[name]
    assert said in words and fix in words


@pytest.mark.parametrize("name", EVALUATED)
def test_what_is_unusual_is_said(summary: dict[str, Any], name: str) -> None:
    (episode,) = (entry for entry in summary["episodes"] if Path(entry["bag"]).stem == name)
    said = [*episode["notices"], *(words for words in summary["notices"] if words.startswith(f"{name}: "))]
    assert any(EVALUATED[name][1] in words for words in said) if EVALUATED[name][1] else not said


def test_errors_are_those_of_the_good_bag(summary: dict[str, Any]) -> None:
    """A missing index and one lost image change nothing that is measured."""
    rmse = {Path(entry["bag"]).stem: entry["metrics"]["rmse"] for entry in summary["episodes"]}
    assert rmse["no_index"] == rmse["good"] == pytest.approx(rmse["one_image"], rel=0.05)
