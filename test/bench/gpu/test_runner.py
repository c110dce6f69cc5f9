# SPDX-License-Identifier: Apache-2.0
"""Stages of a GPU report that crash, hang or are interrupted lose nothing else; real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dreamzero_ros.bench.gpu.runner import Report
from dreamzero_ros.bench.gpu.stages import Stage

pytestmark = pytest.mark.cpu

HELPERS = Path(__file__).parents[2] / "helpers"
REPOSITORY = Path(__file__).parents[3]
PATIENCE_S = 120.0
"""For a stage that will end; ten times what it takes on an idle machine."""


@pytest.fixture(autouse=True)
def grandchild(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """File with the process that a stage started."""
    path = tmp_path / "grandchild"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), str(REPOSITORY)]))
    monkeypatch.setenv("GRANDCHILD_FILE", str(path))
    return path


def numbered(*kinds: str) -> list[Stage]:
    return [
        Stage(number, kind, f"Stage {kind}", f"stages:{kind}", PATIENCE_S)
        for number, kind in enumerate(kinds, start=1)
    ]


def told(out: Path, name: str) -> dict:
    return json.loads((out / f"{name}.json").read_text())


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(file: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not (file.exists() and file.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    assert file.exists(), "the stage never began"


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 10
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_stage_that_crashes_and_one_that_goes_wrong_lose_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    stages = numbered("killed", "wrong", "missing", "well")
    assert not Report("cpu", "least", out, budget_s=600).run(stages)

    crashed = told(out, "01_killed")
    assert (crashed["status"], [result["part"] for result in crashed["results"]]) == ("crashed", ["first"])
    assert "SIGSEGV" in crashed["words"] and "about to end" in crashed["words"]
    failed = told(out, "02_wrong")
    assert failed["status"] == "failed"
    assert [result["status"] for result in failed["results"]] == ["failed", "failed", "failed", "passed"]
    assert failed["results"][0]["error"] == "RuntimeError: out of memory"
    skipped = told(out, "03_missing")
    assert skipped["status"] == "skipped" and "needs torchao" in skipped["results"][0]["notes"][0]
    assert told(out, "04_well")["status"] == "passed"

    page = (out / "report.md").read_text()
    worst = page[page.index("## What is worst") : page.index("## Goals")]
    assert worst.index("Stage killed") < worst.index("**raises** is wrong: RuntimeError: out of memory")
    assert worst.index("**beyond** is wrong: a") < worst.index("2.00 times as bad as the goal")
    assert max(map(len, page.splitlines())) <= 100
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[1].endswith("wrong: raises, beyond, no number")


@pytest.mark.parametrize(
    ("budget_s", "status", "words"),
    [
        (600, "timed out", "not done after 150 s"),
        (100, "cut short", "the time for the report was over after"),
    ],
)
def test_a_stage_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path,
    grandchild: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget_s: float,
    status: str,
    words: str,
) -> None:
    """Its time is over as soon as it hangs, however long this machine takes to begin it."""

    class Impatient(subprocess.Popen):
        def wait(self, timeout: float | None = None) -> int:
            if timeout is None or "stages:hangs" not in self.args:
                return super().wait(timeout)
            wait_for(grandchild)
            raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(subprocess, "Popen", Impatient)
    out = tmp_path / "report"
    passed = Report("cpu", "least", out, budget_s).run(numbered("hangs", "well"))
    hung = told(out, "01_hangs")
    assert (hung["status"], passed) == (status, status == "cut short") and words in hung["words"]
    assert [result["part"] for result in hung["results"]] == ["first"]
    wait_until_gone(int(grandchild.read_text()))
    assert told(out, "02_well")["status"] == "passed"


def test_what_does_not_fit_into_the_time_is_not_run_and_is_no_failure(tmp_path: Path) -> None:
    """Results of an earlier report are not taken for its own; those of other stages stay."""
    (tmp_path / "01_well.json").write_text('{"status": "passed", "results": [{"part": "old"}]}')
    (tmp_path / "05_other.json").write_text("{}")
    assert Report("cpu", "least", tmp_path, budget_s=0.5).run(numbered("well", "hangs"))
    for name in ("01_well", "02_hangs"):
        left = told(tmp_path, name)
        assert (left["status"], left["words"], left["results"]) == ("not run", "the time was over", [])
    assert told(tmp_path, "05_other") == {}


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_an_interrupted_report_ends_its_processes_and_keeps_what_it_has(
    tmp_path: Path, grandchild: Path, request_to_end: signal.Signals
) -> None:
    out = tmp_path / "report"
    script = (
        "from dreamzero_ros.bench.gpu import command\n"
        "from dreamzero_ros.bench.gpu.stages import Stage\n"
        "command.chosen_stages = lambda names: (Stage(1, 'hangs', 'Hangs', 'stages:hangs', 600),)\n"
        f"command.main(['--device', 'cpu', '--sizes', 'least', '--out', {str(out)!r}])\n"
    )
    report = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    wait_for(grandchild)
    report.send_signal(request_to_end)
    output, _ = report.communicate(timeout=PATIENCE_S)
    assert report.returncode == 130 and "interrupted; what was measured is in" in output
    wait_until_gone(int(grandchild.read_text()))
    left = told(out, "01_hangs")
    assert (left["status"], left["words"]) == ("cut short", "interrupted")
    assert [result["part"] for result in left["results"]] == ["first"]
    assert "cut short" in (out / "report.md").read_text()
