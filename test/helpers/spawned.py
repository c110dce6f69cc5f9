# SPDX-License-Identifier: Apache-2.0
"""What ranks that are started as processes load in tests, and what is left of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from rollouts import inputs

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.rank_processes import RankProcesses, SpawnedSession, Work
from dreamzero_ros.engine.sharing import Sharing
from dreamzero_ros.engine.switches import EXACT
from dreamzero_ros.engine.weights import random_engine

TWO = Sharing((torch.device("cpu"),) * 2, guided=True)
FIVE = SamplerConfig(dit_steps=5)
PATIENCE_S = 60.0
"""Longest wait for a process to start or to end [s]."""

PARENT = """
import sys, time
from pathlib import Path
from spawned import TWO, opened, tiny
from dreamzero_ros.engine.rank_processes import RankProcesses
if sys.argv[1] == "loaded":
    processes = RankProcesses(TWO, tiny, {"mark": "loaded"})
    while not Path("loaded").exists():
        time.sleep(0.02)
    time.sleep(1)
else:
    processes, session = opened()
print(*processes.process_ids, flush=True)
time.sleep(600)
"""
"""A rank 0 that does nothing more once the other rank has loaded, and said so, or has computed along."""


def tiny(device: str, fails: str = "", killed: bool = False, mark: str = "") -> Work:
    """A tiny model, or a way not to load one; `mark` is a file that is made."""
    if fails:
        raise ValueError(fails)
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    engine = random_engine("tiny", device, torch.float32)
    if mark:
        Path(mark).touch()
    return Work(engine, FIVE, EXACT)


def opened(timeout_s: float = PATIENCE_S) -> tuple[RankProcesses, SpawnedSession]:
    """A session of two ranks that has answered once."""
    processes = RankProcesses(TWO, tiny, {}, timeout_s)
    work = tiny("cpu")
    session = processes.open_session(work.engine, work.sampler, switches=work.switches)
    step(session)
    return processes, session


def step(session: SpawnedSession) -> torch.Tensor:
    """What a session answers to the first images of a window."""
    images, state = inputs(random_engine("tiny", "cpu", torch.float32).config)[0]
    session.reset()
    return session.step(images, state, "go").actions


def ranks_of(parent: int) -> list[int]:
    """Process ids of the ranks that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text()
        except OSError:  # it ended meanwhile
            continue
        if int(words[1]) == parent and "dreamzero_ros.engine.rank" in command:
            found.append(int(folder.name))
    return found


def await_end(pid: int) -> None:
    """Waits until a process has ended."""
    limit = time.monotonic() + PATIENCE_S
    while not gone(pid):
        assert time.monotonic() < limit, f"process {pid} lives on"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; it may wait for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def meetings(folder: Path) -> list[Path]:
    """Where ranks meet, in a folder for temporary files."""
    return list(folder.glob("dreamzero_ranks_*"))
