# SPDX-License-Identifier: Apache-2.0
"""From videos to a report with the tiny model: its answers and dreams are there, the same each time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.episode import Episode
from dreamzero_ros.evaluation.episode import load as load_episode
from dreamzero_ros.evaluation.pictures import DREAMED, OBSERVED
from dreamzero_ros.evaluation.run_command import COMPLETE
from dreamzero_ros.evaluation.summary import read_summary

pytestmark = pytest.mark.cpu

ROBOT = ["--embodiment", "droid_franka"]
MODEL = ["--set", "random_weights=tiny", "--set", "device=cpu", "--set", "dtype=float32"]
OPTIONS = [*ROBOT, *MODEL, "--latency", "0.3", "--instruction", "wipe the table"]
IMAGES = 90


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of videos in ``bags``, evaluated into ``out``."""
    folder = tmp_path_factory.mktemp("evaluation")
    cameras = [camera.name for camera in load("droid_franka").cameras]
    (folder / "bags").mkdir()
    for name, images in (("long", IMAGES), ("short", IMAGES // 2)):
        clip = write_clip(folder / name, cameras, images)
        assert main(["make-bag", str(clip), *ROBOT, "--out", str(folder / "bags" / f"{name}.mcap")]) == 0
    evaluate(folder, "out")
    return folder


def evaluate(folder: Path, out: str, *options: str, bags: str = "bags") -> None:
    assert main(["run", str(folder / bags), *OPTIONS, *options, "--out", str(folder / out)]) == COMPLETE


def episode(folder: Path, out: str, name: str = "long-000") -> Episode:
    return load_episode(folder / out / "episodes" / name)


def test_the_report_has_the_answers_and_the_dreams(folder: Path) -> None:
    summary = read_summary(folder / "out")
    assert [entry["id"] for entry in summary["episodes"]] == ["long-000", "short-000"]
    assert summary["policy"].startswith("dreamzero tiny") and summary["reference"] == "commands"
    assert not summary["failed"]
    for name in ("rmse", "rmse@24", "psnr", "ssim", "latency_p50"):
        assert math.isfinite(summary["metrics"][name]["value"]), name
    assert {"denoise", "command"} <= set(summary["stages"]), "the stages of the model and of the node"
    assert (folder / "out" / "report.html").stat().st_size > 10_000


def test_pictures_of_both_kinds_lie_beside_the_answers(folder: Path) -> None:
    found = episode(folder, "out")
    assert len(found.calls.captured_ns) >= 2 and found.duration_s == pytest.approx(
        (IMAGES - 1) / 15, abs=0.02
    )
    place = folder / "out" / "episodes" / "long-000"
    assert len(list((place / OBSERVED).iterdir())) == len(found.pictures_ns) > 0
    assert list((place / DREAMED).iterdir())


def test_the_same_again_gives_the_same_answers(folder: Path) -> None:
    evaluate(folder, "again", bags="bags/short.mcap")
    for name in ("targets", "planned", "recorded", "psnr"):
        one, other = (getattr(episode(folder, out, "short-000").calls, name) for out in ("out", "again"))
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.slow
def test_processes_side_by_side_give_the_same_answers(folder: Path) -> None:
    """But for the rounding of another number of threads."""
    evaluate(folder, "apart", "--workers", "2")
    for name in ("long-000", "short-000"):
        one, other = (episode(folder, out, name).calls for out in ("out", "apart"))
        np.testing.assert_array_equal(one.captured_ns, other.captured_ns)
        np.testing.assert_allclose(one.targets, other.targets, atol=1e-4)
