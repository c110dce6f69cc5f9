# SPDX-License-Identifier: Apache-2.0
"""Evaluations of several bags from the console: whole, in parts, in several processes, with broken bags."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import bags
import pytest
import recordings

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.episode import load as load_episode
from dreamzero_ros.evaluation.run_command import COMPLETE, INCOMPLETE, INTERRUPTED, USAGE
from dreamzero_ros.evaluation.summary import read_summary

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
SECONDS = 5.0
OPTIONS = ("--embodiment", "droid_franka", "--policy", "hold", "--latency", "0.2", "--instruction", "tidy up")
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three bags."""
    folder = tmp_path_factory.mktemp("bags")
    for name, motion in (
        ("a", recordings.ramp(ROBOT)),
        ("b", recordings.wave(ROBOT)),
        ("c", recordings.ramp(ROBOT)),
    ):
        bags.write(folder / name, recordings.session(ROBOT, motion, SECONDS))
    return folder


def evaluate(*arguments: object) -> int:
    return main(["run", *OPTIONS, *map(str, arguments)])


def command(folder: Path, out: Path) -> list[str]:
    """The same in a process of its own."""
    module = "dreamzero_ros.evaluation.command"
    return [sys.executable, "-m", module, "run", str(folder), "--out", str(out), *OPTIONS]


@pytest.fixture(scope="module")
def whole(sessions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation that nothing disturbed."""
    out = tmp_path_factory.mktemp("evaluations") / "whole"
    assert evaluate(sessions, "--out", out) == COMPLETE
    return out


def content(out: Path) -> str:
    return (out / "report.json").read_text()


def leftovers(out: Path) -> list[Path]:
    return [path for path in out.rglob("*") if path.name.endswith(".part")]


def test_a_folder_of_bags_gives_one_report(whole: Path) -> None:
    summary = read_summary(whole)
    assert [episode["id"] for episode in summary["episodes"]] == ["a-000", "b-000", "c-000"]
    assert summary["policy"] == "hold" and not summary["failed"]
    for name in (
        "report.html",
        "summary.md",
        "episodes/b-000/index.html",
        "episodes/b-000/observed/000000.jpg",
        "predictions/b.mcap",
    ):
        assert (whole / name).stat().st_size > 0
    assert not leftovers(whole)


def test_several_processes_report_the_same(whole: Path, sessions: Path, tmp_path: Path) -> None:
    assert evaluate(sessions, "--out", tmp_path / "apart", "--workers", 2) == COMPLETE
    assert content(tmp_path / "apart") == content(whole)


def test_an_evaluation_that_was_killed_goes_on_to_the_same_report(
    whole: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "dreamzero_ros.evaluation.command",
        "run",
        str(sessions),
        "--out",
        str(out),
    ]
    process = subprocess.Popen([*command, *OPTIONS], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + PATIENCE_S
    while not (out / "episodes" / "a-000").exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = (out / "episodes" / "a-000" / "episode.json").stat().st_mtime_ns
    assert not (out / "report.json").exists()
    assert evaluate(sessions, "--out", out) == COMPLETE
    assert content(out) == content(whole)
    assert (out / "episodes" / "a-000" / "episode.json").stat().st_mtime_ns == done, "played once"
    assert not leftovers(out)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_leaves_no_process_and_says_how_to_go_on(sessions: Path, tmp_path: Path, workers: int) -> None:
    out, said = tmp_path / "interrupted", tmp_path / "said.txt"
    command = [
        sys.executable,
        "-m",
        "dreamzero_ros.evaluation.command",
        "run",
        str(sessions),
        "--out",
        str(out),
    ]
    with said.open("w") as file:
        process = subprocess.Popen(
            [*command, *OPTIONS, "--workers", str(workers)], stderr=file, stdout=file, start_new_session=True
        )
    limit = time.monotonic() + PATIENCE_S
    while not list(out.glob("episodes/*")):
        assert process.poll() is None and time.monotonic() < limit, said.read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == INTERRUPTED, said.read_text()
    assert "the same command goes on" in said.read_text()
    while members(process.pid):
        assert time.monotonic() < limit, "a worker stayed behind"
        time.sleep(0.01)


def members(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_broken_bags_are_named_and_the_others_evaluated(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes((sessions / "a" / "a.mcap").read_bytes()[:100_000])
    other = bags.write(
        tmp_path / "other", [("/chatter", bags.START_NS, bags.joint_state(bags.START_NS, ["x"]))]
    )
    out = tmp_path / "out"
    assert evaluate(sessions / "a", broken, other, "--out", out) == INCOMPLETE
    said = capsys.readouterr().err
    assert "broken.mcap" in said and "mcap recover" in said
    assert "joint_states" in said and "expected" in said
    failed = read_summary(out)["failed"]
    assert [Path(entry["bag"]).name for entry in failed] == ["broken.mcap", "other"]
    assert [episode["id"] for episode in read_summary(out)["episodes"]] == ["a-000"]


def test_nothing_usable_makes_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"")
    assert evaluate(broken, "--out", tmp_path / "out") == INCOMPLETE
    assert "broken.mcap" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_bag_that_was_mended_is_looked_at_again(sessions: Path, tmp_path: Path) -> None:
    bag = tmp_path / "session.mcap"
    good = (sessions / "a" / "a.mcap").read_bytes()
    bag.write_bytes(good[:100_000])
    assert evaluate(bag, "--out", tmp_path / "out") == INCOMPLETE
    bag.write_bytes(good)
    assert evaluate(bag, "--out", tmp_path / "out") == COMPLETE
    assert not read_summary(tmp_path / "out")["failed"]


def test_other_settings_need_another_folder(
    whole: Path, sessions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(whole)
    assert evaluate(sessions, "--out", whole, "--set", "speed_scale=0.5") == USAGE
    said = " ".join(capsys.readouterr().err.split())
    assert "speed_scale" in said and "another folder" in said
    assert content(whole) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.mcap",), "nothing there"),
        (("{sessions}", "--set", "speed_scale=7"), "expected 0.05 to 1"),
        (("{sessions}", "--set", "sped_scale=1"), "speed_scale"),
        (("{sessions}", "--latency", "-1"), "0 s or more"),
        (("{sessions}", "--topic", "rist_image:=/x"), "expected a stream"),
        (("{sessions}", "--policy", "dreamzero"), "exactly one of the parameters checkpoint"),
        pytest.param(
            ("{sessions}", "--policy", "dreamzero", "--workers", "2"),
            "exactly one of the parameters checkpoint",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_wrong_usage_is_told_in_words(
    arguments: tuple[str, ...], words: str, sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(sessions=sessions) for word in arguments]
    assert main(["run", *OPTIONS, *given, "--out", str(tmp_path / "out")]) == USAGE
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.glob("out/episodes/*"))


def test_without_an_instruction_the_bag_is_refused(sessions: Path, tmp_path: Path) -> None:
    options = ["--embodiment", "droid_franka", "--policy", "hold", "--out", str(tmp_path / "out")]
    assert main(["run", str(sessions / "a"), *options]) == INCOMPLETE
    plan = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "expected an instruction" in plan["bags"][0]["error"]


@pytest.mark.parametrize(
    "largest",
    [pytest.param(1_000, marks=pytest.mark.slow), 6_000, pytest.param(20_000, marks=pytest.mark.slow)],
)
def test_a_full_disk_is_told_and_nothing_half_done_bears_a_final_name(
    whole: Path, sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], largest: int
) -> None:
    """Larger files cannot be written, as on a disk without room: the plan, an episode, a page."""
    out = tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
    try:
        assert evaluate(sessions, "--out", out) == INCOMPLETE
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.strerror(errno.EFBIG) in capsys.readouterr().err
    assert not (out / "report.html").exists()
    for folder in out.glob("episodes/*"):
        load_episode(folder)
    assert evaluate(sessions, "--out", out) == COMPLETE
    assert content(out) == content(whole)


def test_lists_patterns_and_equal_names(sessions: Path, tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        shutil.copytree(sessions / "a", tmp_path / day / "session")
    (tmp_path / "tuesday").rename(tmp_path / "tuesday #2")
    (tmp_path / "bags.txt").write_text("\ufeff# two days\nmonday/session\n\ntuesday #2/*\n")
    assert evaluate(tmp_path / "bags.txt", "--out", tmp_path / "out") == COMPLETE
    found = [episode["id"] for episode in read_summary(tmp_path / "out")["episodes"]]
    assert found == ["monday-session-000", "tuesday #2-session-000"]


def test_the_recording_itself_makes_no_errors(sessions: Path, tmp_path: Path) -> None:
    assert evaluate(sessions / "b", "--out", tmp_path / "out", "--policy", "recorded") == COMPLETE
    metrics = read_summary(tmp_path / "out")["metrics"]
    assert metrics["rmse"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["rmse"]["hold"]["value"] > 0.01
