# SPDX-License-Identifier: Apache-2.0
"""Ranks as processes: they say why they fail, are missed when they are lost, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from rollouts import assert_close
from spawned import PARENT, PATIENCE_S, TWO, await_end, gone, meetings, opened, ranks_of, step, tiny

from dreamzero_ros.engine.parallel import RankError
from dreamzero_ros.engine.rank_processes import RankProcesses
from dreamzero_ros.engine.session import Session

pytestmark = pytest.mark.cpu

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ranks meet; they find what tests load."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'test' / 'helpers'}:{ROOT}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("how", "words"),
    [
        pytest.param(
            {"fails": "there is no such checkpoint"},
            "rank 1 on cpu: there is no such checkpoint",
            marks=pytest.mark.slow,
        ),
        pytest.param({"killed": True}, "rank 1 on cpu was ended by SIGKILL", marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_fails_to_load_says_why(folder: Path, how: dict[str, object], words: str) -> None:
    processes = RankProcesses(TWO, tiny, how)
    work = tiny("cpu")
    with pytest.raises(RankError) as caught:
        processes.open_session(work.engine, work.sampler, switches=work.switches)
    assert str(caught.value) == words
    processes.close()
    assert not ranks_of(os.getpid()) and not meetings(folder)


@pytest.mark.slow
def test_processes_on_a_cpu_share_its_cores_while_they_run() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(5)
    processes = RankProcesses(TWO, tiny, {})
    shared = torch.get_num_threads()
    processes.close()
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert (shared, after) == (2, 5)


def test_a_rank_that_is_killed_is_missed_at_once_and_can_be_had_anew(folder: Path) -> None:
    processes, session = opened()
    os.kill(processes.process_ids[0], signal.SIGKILL)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(RankError, match=r"^rank 1 on cpu was ended by SIGKILL; load the model anew"):
            step(session)
    session.close()
    assert time.monotonic() - began < PATIENCE_S / 4
    assert not ranks_of(os.getpid()) and not meetings(folder)

    processes, session = opened()
    work = tiny("cpu")
    alone = Session(work.engine, work.sampler, switches=work.switches)
    assert_close(step(session), step(alone))
    pids = processes.process_ids
    session.close()
    session.close()
    assert all(map(gone, pids)) and not meetings(folder)


@pytest.mark.slow
def test_a_rank_that_is_silent_is_missed_after_a_while_and_ended(folder: Path) -> None:
    processes, session = opened(timeout_s=8)
    (pid,) = processes.process_ids
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(RankError, match="another rank ended or was silent for too long; load the model"):
        step(session)
    session.close()
    assert gone(pid) and not meetings(folder)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["loaded", "waiting"])
def test_ranks_end_with_rank_0(folder: Path, state: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, state],
        env=os.environ | {"TMPDIR": str(folder)},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(parent.stdout.readline())
    assert len(meetings(folder)) == 1
    parent.kill()
    parent.wait()
    await_end(pid)
    assert not meetings(folder)
