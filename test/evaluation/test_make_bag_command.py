# SPDX-License-Identifier: Apache-2.0
"""The console makes a recording, or says which video or name is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import write_clip

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation import make_bag_command
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.make_bag_command import MADE, NOT_MADE, USAGE

pytestmark = pytest.mark.cpu
ROBOT = ["--embodiment", "droid_franka"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "videos", [camera.name for camera in load("droid_franka").cameras])


def test_what_it_makes_can_be_used(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = clip.parent / "made.mcap"
    names = [
        "--parameter",
        "arm=fr3",
        "--namespace",
        "left",
        "--topic",
        "wrist_image_left:=/wrist/compressed",
    ]
    options = ["--zstd", "--start", "1500000000.5", "--out", str(path)]
    assert main(["make-bag", str(clip), *ROBOT, *names, *options]) == MADE == 0
    assert f"{path}, 3.0 s" in capsys.readouterr().out
    with Bag(path) as bag:
        assert bag.start_ns == 1_500_000_000_500_000_000
    assert main(["inspect", str(path), *ROBOT, *names]) == 0
    assert "/left/fr3_arm_controller/joint_trajectory" in capsys.readouterr().out


def test_what_cannot_be_made(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = clip.parent / "made.mcap"
    (clip / "wrist_image_left.avi").unlink()
    assert main(["make-bag", str(clip), *ROBOT, "--out", str(path)]) == NOT_MADE == 1
    words = " ".join(capsys.readouterr().err.split())
    assert "no video for camera wrist_image_left: expected wrist_image_left.mp4" in words
    assert main(["make-bag", str(clip / "none"), *ROBOT, "--out", str(path)]) == NOT_MADE
    assert "no such folder" in capsys.readouterr().err
    assert main(["make-bag", str(clip), "--embodiment", "droid", "--out", str(path)]) == USAGE == 2
    assert "expected" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("name", ["made.db3", "there.mcap"])
def test_only_new_files_are_written(clip: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (clip.parent / "there.mcap").write_bytes(b"precious")
    with pytest.raises(SystemExit) as caught:
        make_bag_command.main([str(clip), *ROBOT, "--out", str(clip.parent / name)])
    assert caught.value.code == USAGE
    assert "expected a" in capsys.readouterr().err
    assert (clip.parent / "there.mcap").read_bytes() == b"precious"


@pytest.mark.parametrize("text", ["0", "-1", "nan", "4e9", "now"])
def test_a_begin_that_no_stamp_can_say(clip: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_bag_command.main([str(clip), *ROBOT, "--out", str(clip / "made.mcap"), f"--start={text}"])
    assert caught.value.code == USAGE
    assert "expected seconds from 1 to" in capsys.readouterr().err


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["make-bag", "--help"])
    printed = capsys.readouterr().out
    for words in ("wrist_image_left.mp4", "--zstd", "droid_clip/", "exit codes"):
        assert words in printed
