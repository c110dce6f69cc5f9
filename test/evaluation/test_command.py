# SPDX-License-Identifier: Apache-2.0
"""The console: a table that fits, exit codes that scripts can use, a help that teaches."""

from __future__ import annotations

from pathlib import Path

import pytest
from bags import NS, join, session, write

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import NOT_USABLE, USABLE, USAGE, main
from dreamzero_ros.evaluation.plan import bags_of

pytestmark = pytest.mark.cpu

ROBOT = ["--embodiment", "droid_franka"]


@pytest.fixture
def bag(tmp_path: Path) -> str:
    return str(write(tmp_path / "bag", session(load("droid_franka"))))


def test_a_usable_bag(bag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", bag, *ROBOT]) == USABLE == 0
    printed = capsys.readouterr().out
    for text in (
        "/wrist_image_left/image_raw",
        "30",
        "15.0",
        "16x8 rgb8",
        "7 of 7 joints",
        "2 to 2",
        "[Hz]",
        "[ms]",
    ):
        assert text in printed
    assert "usable: all streams are there for 1.9 s" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_a_bag_of_another_robot_says_why(bag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", bag, *ROBOT, "--parameter", "arm=fr3"]) == NOT_USABLE == 1
    printed = capsys.readouterr().out
    words = " ".join(printed.split())
    assert "no fr3_joint1" in words and "did you mean 'panda_joint1'?" in words and "not usable" in words
    assert max(map(len, printed.splitlines())) <= 100


def test_topics_that_are_not_there(bag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", bag, *ROBOT, "--namespace", "left"]) == NOT_USABLE
    assert "/left/joint_states" in capsys.readouterr().out
    assert main(["inspect", bag, *ROBOT, "--topic", "joint_states:=/nowhere"]) == NOT_USABLE
    assert "try --topic joint_states:=/joint_states" in " ".join(capsys.readouterr().out.split())


def test_what_is_no_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "nowhere"), *ROBOT]) == NOT_USABLE
    assert "got nothing there" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--embodiment", "droid"],
        [*ROBOT, "--topic", "wrist:=/x"],
        [*ROBOT, "--parameter", "arm=ur5"],
    ],
)
def test_wrong_names_are_usage(bag: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", bag, *arguments]) == USAGE == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["inspect"], ["inspect", "x"], ["inspect", "x", *ROBOT, "--topic", "y"]]
)
def test_wrong_arguments_are_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == USAGE


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for text in ("examples:", "--topic", "exit codes: 0 usable, 1 not usable", "joint_trajectory"):
        assert text in printed


def test_a_split_recording_is_one_for_inspect_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = session(load("droid_franka"), 4.0)
    half = messages[len(messages) // 2][1]
    parts = [
        write(tmp_path / "x_0", [entry for entry in messages if entry[1] < half]),
        write(tmp_path / "x_1", [entry for entry in messages if entry[1] >= half]),
    ]
    split = join(tmp_path / "split", parts, metadata=False)
    assert main(["inspect", str(split), *ROBOT]) == USABLE
    assert "2 files are read as one recording" in " ".join(capsys.readouterr().out.split())
    assert bags_of([str(split)]) == (split,)


def test_a_folder_of_recordings_is_several_for_inspect_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = session(load("droid_franka"), 2.0)
    later = [(topic, log_ns + 10 * NS, message) for topic, log_ns, message in messages]
    parts = [write(tmp_path / "x_0", messages), write(tmp_path / "x_1", later)]
    folder = join(tmp_path / "days", parts, metadata=False)
    assert main(["inspect", str(folder), *ROBOT]) == NOT_USABLE
    assert "got 2: x_0.mcap, x_1.mcap; name one of them" in " ".join(capsys.readouterr().err.split())
    assert bags_of([str(folder)]) == (folder / "x_0.mcap", folder / "x_1.mcap")
