# SPDX-License-Identifier: Apache-2.0
"""The console: a table that fits, exit codes that scripts can use, a help that teaches."""

from __future__ import annotations

from pathlib import Path

import pytest
from bags import session, write

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import NOT_USABLE, USABLE, USAGE, main

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
