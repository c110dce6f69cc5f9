# SPDX-License-Identifier: Apache-2.0
"""Episodes on a Ray cluster of this machine give the report that they give here."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import bags
import pytest
import recordings

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.run_command import COMPLETE, INCOMPLETE, USAGE

pytestmark = pytest.mark.cpu

INSTALLED = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not INSTALLED, reason="ray is not installed (requirements/ray.txt)")
OPTIONS = ("--embodiment", "droid_franka", "--policy", "hold", "--latency", "0.2", "--instruction", "tidy up")


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    robot = load("droid_franka")
    for name, motion in (("a", recordings.ramp(robot)), ("b", recordings.wave(robot))):
        bags.write(tmp_path / "bags" / name, recordings.session(robot, motion, 3.0))
    return tmp_path / "bags"


def evaluate(*arguments: object) -> int:
    return main(["run", *OPTIONS, *map(str, arguments)])


@needs_ray
def test_a_cluster_reports_the_same(sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths begin in this folder on all machines."""
    monkeypatch.chdir(tmp_path)
    assert evaluate("bags", "--out", "here") == COMPLETE
    assert evaluate("bags", "--out", "there", "--ray") == COMPLETE
    assert (tmp_path / "there" / "report.json").read_text() == (tmp_path / "here" / "report.json").read_text()


@needs_ray
@pytest.mark.slow
def test_what_a_cluster_does_not_have_is_said(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--policy", "dreamzero", "--set", "random_weights=tiny", "--set", "device=cuda:0")
    assert evaluate(sessions, "--out", tmp_path / "small", "--ray", "--workers", 999, *model) == USAGE
    assert "the GPUs of the cluster" in " ".join(capsys.readouterr().err.split())


@needs_ray
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there_is_said(
    scheme: str, sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        assert evaluate(sessions, "--out", tmp_path / "out", "--ray", address) == INCOMPLETE
    assert f"--ray {address}: expected a Ray cluster" in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif(INSTALLED, reason="ray is installed")
def test_without_ray_it_says_what_to_install(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(sessions, "--out", tmp_path / "out", "--ray") == USAGE
    assert "requirements/ray.txt" in capsys.readouterr().err
