# SPDX-License-Identifier: Apache-2.0
"""An evaluation that asked the policy nothing, of an episode or at all, is not complete, and says so."""

from __future__ import annotations

from pathlib import Path

import bags
import pytest
import recordings
from bags import NS, START_NS

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.compare_command import PASSED
from dreamzero_ros.evaluation.run_command import INCOMPLETE, USAGE
from dreamzero_ros.evaluation.summary import read_summary

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
WRIST = f"/{ROBOT.cameras[-1].topic}"
WORDS = "the policy was never asked: camera wrist_image_left: newest image is"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag whose wrist camera falls silent after 2.5 of 5 s, and two evaluations of it.

    ``half`` has an episode before and one after that, ``none`` only the one after.
    """
    folder = tmp_path_factory.mktemp("incomplete")
    messages = recordings.session(ROBOT, recordings.ramp(ROBOT), 5.0)
    kept = [entry for entry in messages if entry[0] != WRIST or entry[1] < START_NS + 2.5 * NS]
    bags.write(folder / "bag", kept)
    for name, lines in (("half", "0.1,2.4\n3.1,4.9\n"), ("none", "3.1,4.9\n")):
        (folder / f"{name}.csv").write_text(lines)
        assert evaluate(folder, name, "--episodes-times", str(folder / f"{name}.csv")) == INCOMPLETE
    return folder


def evaluate(folder: Path, name: str, *options: str) -> int:
    known = ["--embodiment", "droid_franka", "--policy", "hold", "--instruction", "wipe", "--latency", "0.2"]
    return main(["run", str(folder / "bag"), "--out", str(folder / name), *known, *options])


def test_the_episode_is_named_with_its_reason(folder: Path) -> None:
    summary = read_summary(folder / "half")
    assert [row["calls"] > 0 for row in summary["episodes"]] == [True, False]
    (entry,) = summary["incomplete"]
    assert entry["episode"] == "bag-001" and WORDS in entry["error"]
    assert read_summary(folder / "none")["incomplete"][0]["episode"] == "bag-000"


@pytest.mark.parametrize("page", ["summary.md", "report.html"])
def test_what_people_read_says_it(folder: Path, page: str) -> None:
    for name, episode in (("half", "bag-001"), ("none", "bag-000")):
        text = (folder / name / page).read_text().replace("\\_", "_")
        assert "ot complete" in text and episode in text and WORDS in text


def test_a_second_try_says_it_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = str(folder / "none.csv")
    assert evaluate(folder, "none", "--episodes-times", times) == INCOMPLETE
    assert f"not complete: bag-000: {WORDS}" in " ".join(capsys.readouterr().out.split())


def test_a_comparison_leaves_out_what_was_not_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half, none = str(folder / "half"), str(folder / "none")
    assert main(["compare", half, half]) == PASSED
    assert main(["compare", half, none]) == USAGE
    assert "got none in the second report" in " ".join(capsys.readouterr().err.split())
    assert main(["compare", none, half, "--fail-if", "rmse>0.1"]) == USAGE


def test_an_answer_that_never_comes_is_told_apart(folder: Path) -> None:
    times = str(folder / "half.csv")
    assert evaluate(folder, "late", "--episodes-times", times, "--latency", "60") == INCOMPLETE
    first, _ = read_summary(folder / "late")["incomplete"]
    assert first["error"] == "the policy was asked, but the episode ended before an answer was there"
