# SPDX-License-Identifier: Apache-2.0
"""The demo as a person runs it: real processes, pictures at the end, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from library_lines import library_lines
from ros_graph import segments

from dreamzero_ros.ros.demo import main

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parents[2]
CLIP = ROOT.parent / "shared" / "data" / "droid_clip"
MARK = "DREAMZERO_DEMO_TEST"
"""Environment variable by which the processes of a test are found."""
PATIENCE_S = 600.0


def start(mark: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dreamzero_ros.ros.demo", *arguments],
        cwd=ROOT,
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def marked(mark: str) -> list[int]:
    """Processes that carry the mark of a test and run."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def assert_none_left(mark: str) -> None:
    """A process that was told to end may take a moment."""
    limit = time.monotonic() + 10
    while marked(mark):
        assert time.monotonic() < limit, f"{len(marked(mark))} processes are left"
        time.sleep(0.1)


def await_processes(mark: str, count: int) -> None:
    limit = time.monotonic() + PATIENCE_S
    while len(marked(mark)) < count:
        assert time.monotonic() < limit, f"{len(marked(mark))} of {count} processes"
        time.sleep(0.1)


def check_pictures(folder: Path) -> None:
    for name in ("strip.png", "joints.png"):
        picture = cv2.imread(str(folder / name))
        assert picture is not None, name
        assert picture.shape[1] > 600 and picture.std() > 20, name


@pytest.mark.parametrize(
    "footage", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["synthetic", "footage"]
)
def test_it_runs_and_leaves_pictures(footage: bool, tmp_path: Path) -> None:
    if footage and not CLIP.is_dir():
        pytest.skip("the recorded DROID clip is not on this machine")
    chunks = 10 if footage else 5
    arguments = ["--chunks", str(chunks), "--out", str(tmp_path / "out"), "--mode", "blocking"]
    arguments += ["--footage", str(CLIP)] if footage else []
    demo = start(str(tmp_path), *arguments)
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, said
    assert library_lines(said) == []
    assert "untrained" in said and max(map(len, said.splitlines())) <= 100
    assert_none_left(str(tmp_path))

    check_pictures(tmp_path / "out")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    summary = run["summary"]
    assert summary["chunks"] >= chunks and len(run["chunks"]) >= chunks
    for chunk in run["chunks"]:
        assert chunk["targets_used"] + chunk["targets_dropped"] == 24
        assert np.shape(chunk["targets"]) == (24, len(run["joints"]))
    context = [chunk["context_frames"] for chunk in run["chunks"]]
    assert context[0] == 1 and 3 in context and set(context) <= {1, 3, 5, 7}
    assert summary["tracking_error_max"] < 0.1
    measured, commanded = (np.array(run["trace"][name], float) for name in ("measured", "commanded"))
    assert np.ptp(measured, axis=0).max() > 0.01
    assert np.nanmax(np.abs(measured - commanded)) == pytest.approx(summary["tracking_error_max"], abs=1e-5)
    logs = {path.name: path.read_text() for path in (tmp_path / "out" / "log").glob("*_node.log")}
    assert set(logs) == {"sim_node.log", "policy_node.log"} | ({"footage_node.log"} if footage else set())
    assert library_lines("\n".join(logs.values())) == []


@pytest.mark.parametrize("when", ["start", pytest.param("run", marks=pytest.mark.slow)])
def test_ctrl_c_ends_everything(when: str, tmp_path: Path) -> None:
    demo = start(str(tmp_path), "--chunks", "1000", "--out", str(tmp_path / "out"))
    await_processes(str(tmp_path), 3)
    said = ""
    while when == "run" and "\n    0  put" not in said:
        said += demo.stdout.readline()
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 130, said + rest
    assert "Interrupted" in rest
    assert_none_left(str(tmp_path))
    assert not list((tmp_path / "out").glob("*.*"))


def test_a_killed_demo_takes_its_nodes_along(tmp_path: Path) -> None:
    demo = start(str(tmp_path), "--out", str(tmp_path / "out"))
    await_processes(str(tmp_path), 3)
    shared = set().union(*map(segments, marked(str(tmp_path))))
    demo.kill()
    demo.wait()
    limit = time.monotonic() + PATIENCE_S
    while marked(str(tmp_path)):
        assert time.monotonic() < limit, "nodes live on"
        time.sleep(0.1)
    for segment in shared:  # a killed process cannot remove what it shared
        segment.unlink(missing_ok=True)


@pytest.mark.slow
def test_a_node_that_fails_ends_the_demo_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    demo = start(str(tmp_path), "--footage", str(tmp_path / "videos"), "--out", str(tmp_path / "out"))
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 1
    assert "footage_node ended" in said and "exterior_image_1_left" in said.replace("\n", "")
    assert_none_left(str(tmp_path))


def test_help_teaches_and_bad_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    helped = capsys.readouterr().out
    for word in ("--footage", "one video per camera", "strip.png", "untrained"):
        assert word in " ".join(helped.split())
    for arguments in (["--chunks", "0"], ["--footage", "/nowhere"], ["--nonsense"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert arguments[0].strip("-") in capsys.readouterr().err
