# SPDX-License-Identifier: Apache-2.0
"""The comparison as scripts and people call it."""

from __future__ import annotations

from pathlib import Path

import pytest
from episodes import make_episode, waves

from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.compare_command import FAILED, PASSED, USAGE
from dreamzero_ros.evaluation.measures import measure
from dreamzero_ros.evaluation.summary import summarise, write_summary

pytestmark = pytest.mark.cpu


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two evaluations, the second with errors that are 10 % larger."""
    for name, factor in (("a", 1.0), ("b", 1.1)):
        (tmp_path / name).mkdir()
        episodes = [
            make_episode(predicted=lambda t, e=error * factor: waves(t) + e, seed=n)
            for n, error in enumerate((0.1, 0.2))
        ]
        named = [(f"bag-{n:03d}", measure(episode)) for n, episode in enumerate(episodes)]
        write_summary(tmp_path / name, summarise(named))
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_comparison_alone_passes(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *folders]) == PASSED == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("rmse "))
    assert "+10 %" in row and "worse" in row
    assert "over the 2 episodes that both have" in printed
    assert max(map(len, printed.splitlines()[2:])) <= 100


def test_a_condition_that_holds_fails(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *folders, "--fail-if", "rmse>+15%", "--fail-if", "mae>+5%"]) == FAILED == 1
    printed = capsys.readouterr().out
    assert "fails mae>+5%: from 0.15 to 0.165 rad" in printed and "fails rmse" not in printed
    assert main(["compare", *folders[::-1], "--fail-if", "mae>+5%"]) == PASSED


def test_what_cannot_be_compared_is_wrong_usage(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", folders[0], str(tmp_path / "nowhere")]) == USAGE == 2
    assert "expected the report of an evaluation" in " ".join(capsys.readouterr().err.split())
    assert main(["compare", *folders, "--fail-if", "rmze>+5%"]) == USAGE
    assert "did you mean 'rmse'?" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as left:
        main(["compare", *folders, "--fail-if", "rmse"])
    assert left.value.code == USAGE
    assert "expected one such as 'rmse>+5%'" in capsys.readouterr().err


def test_the_help_says_what_a_condition_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    printed = capsys.readouterr().out
    assert '"direction<-2%"' in printed and "exit codes" in printed
