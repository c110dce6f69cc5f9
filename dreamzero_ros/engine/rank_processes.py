# SPDX-License-Identifier: Apache-2.0
"""The other ranks of a session as processes of this one, which is rank 0.

Every rank makes its own model, from the same few words, on its own device. Between rank 0 and each other one
there is a socket with lines of JSON: what the rank is to do, that it is ready or why it failed, and when to
join. It breaks when one of both ends, however it ends, so that no rank outlives rank 0. Nothing listens
beyond this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.parallel import TIMEOUT_S, RankError, Ranks, join
from dreamzero_ros.engine.session import SolverStep, StepResult
from dreamzero_ros.engine.shared_session import SharedSession
from dreamzero_ros.engine.sharing import Sharing
from dreamzero_ros.engine.switches import Switches

MODULE = "dreamzero_ros.engine.rank"
"""What such a process runs."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""Environment in which ranks speak to each other on this machine only."""
COMPILING_S = 900.0
"""How long a rank waits for another one where blocks are compiled [s]."""
ENDING_S = 5.0
"""How long a rank may take to end once the session is closed [s]."""
REASON_S = 2.0
"""How long it may take until a rank that was lost is seen to have ended [s]."""
LOADED, FAILED = "loaded", "failed"
"""What a rank says: that it may join, or, with words, why it ends."""


@dataclass(frozen=True)
class Work:
    """A model and how it is run, the same on all ranks but for the device."""

    engine: Engine
    sampler: SamplerConfig
    switches: Switches


@dataclass(frozen=True)
class Job:
    """What a rank is told, in plain words and numbers."""

    make: str
    """`module:function` that returns the `Work`."""
    arguments: dict[str, Any]
    """Of that function, besides the device."""
    device: str
    rank: int
    size: int
    split_guidance: bool
    folder: str
    """Where the ranks meet."""
    timeout_s: float
    """How long to wait for another rank in the middle of a step [s]."""
    threads: int
    """Threads for work on the CPU."""

    def join(self) -> Ranks:
        """Meet the others; returns when all are there."""
        return join(
            f"file://{self.folder}/meeting",
            self.rank,
            self.size,
            torch.device(self.device),
            split_guidance=self.split_guidance,
            timeout_s=self.timeout_s,
        )


def patience_s(switches: Switches) -> float:
    """How long a rank should wait for another one in the middle of a step [s]."""
    return COMPILING_S if switches.compile else TIMEOUT_S


class RankProcesses:
    """Starts the other ranks, which load while this process does; `close` ends them.

    Args:
        sharing: How the work is shared.
        make: Called by every other rank as `make(device=..., **arguments)`; importable by its name.
        arguments: As JSON has them.
        timeout_s: How long to wait for another rank in the middle of a step [s].
    """

    def __init__(
        self,
        sharing: Sharing,
        make: Callable[..., Work],
        arguments: Mapping[str, Any],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._threads = torch.get_num_threads()
        self._folder = tempfile.mkdtemp(prefix="dreamzero_ranks_")
        self._ranks: Ranks | None = None
        self._over = ""
        self._others: list[_Process] = []
        os.environ.update(LOOPBACK)
        on_cpu = sharing.devices[0].type == "cpu"
        size = len(sharing.devices)
        jobs = [
            Job(
                make=f"{make.__module__}:{make.__qualname__}",
                arguments=dict(arguments),
                device=str(device),
                rank=rank,
                size=size,
                split_guidance=sharing.split_guidance,
                folder=self._folder,
                timeout_s=timeout_s,
                threads=max(1, self._threads // size) if on_cpu else self._threads,
            )
            for rank, device in enumerate(sharing.devices)
        ]
        self._job = jobs[0]
        torch.set_num_threads(self._job.threads)
        try:
            for job in jobs[1:]:
                self._others.append(_Process(job))
        except BaseException:
            self.close()
            raise

    @property
    def process_ids(self) -> list[int]:
        """Of the other ranks."""
        return [other.process_id for other in self._others]

    def open_session(self, engine: Engine, sampler: SamplerConfig, *, switches: Switches) -> SpawnedSession:
        """Wait until the others have loaded, and open the session that all compute; once.

        Raises:
            RankError: If one of them has failed; says why.
            ValueError: If the ranks cannot share the work.
        """
        if not all(other.await_loaded() for other in self._others):
            raise RankError(self._reason("another rank ended"))
        for other in self._others:
            other.let_join()
        with self.explained():
            self._ranks = self._job.join()
        return SpawnedSession(engine, sampler, switches, self._ranks, self)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Around what the others take part in: says why one is lost.

        Raises:
            RankError: If one is, or was before.
        """
        if self._over:
            raise RankError(self._over)
        try:
            yield
        except RankError as error:
            words = self._reason(str(error).partition(";")[0])
            self._over = f"{words}; load the model anew: clean up and configure"
            raise RankError(self._over) from error

    def close(self, patience_s: float = 0.0) -> None:
        """End the other ranks and leave nothing behind.

        Args:
            patience_s: How long they may take to end by themselves, where they were told so [s].
        """
        self._over = self._over or "the session is closed"
        ranks, self._ranks = self._ranks, None
        if ranks is not None:
            ranks.leave()
        while self._others:
            self._others.pop().end(patience_s)
        shutil.rmtree(self._folder, ignore_errors=True)
        torch.set_num_threads(self._threads)

    def _reason(self, otherwise: str) -> str:
        """Find out who is lost and why, and end all others, which are of no use any more.

        Args:
            otherwise: What to say where nobody has ended.
        """
        deadline = time.monotonic() + REASON_S
        while not any(other.failed for other in self._others) and time.monotonic() < deadline:
            time.sleep(0.01)
        reasons = [other.reason() for other in self._others if other.failed]
        for other in self._others:
            other.end()
        return reasons[0] if reasons else otherwise


class SpawnedSession(SharedSession):
    """A session whose other ranks are processes of this one, and end with it.

    Args:
        engine: Model and encoders of rank 0.
        sampler: Settings of the denoising.
        switches: Speed-ups.
        ranks: All of them.
        processes: The other ones.
    """

    def __init__(
        self,
        engine: Engine,
        sampler: SamplerConfig,
        switches: Switches,
        ranks: Ranks,
        processes: RankProcesses,
    ) -> None:
        super().__init__(engine, sampler, ranks, switches=switches)
        self._processes = processes

    def reset(self) -> None:
        """As of `SharedSession`."""
        with self._processes.explained():
            super().reset()

    def step(
        self,
        images: Tensor,
        state: Tensor,
        prompt: str | Tensor,
        latents: Tensor | None = None,
        on_step: Callable[[SolverStep], None] | None = None,
    ) -> StepResult:
        """As of `SharedSession`; a `RankError` says which rank is lost and why."""
        with self._processes.explained():
            return super().step(images, state, prompt, latents, on_step)

    def look_ahead(self, images: Tensor) -> None:
        """As of `SharedSession`."""
        with self._processes.explained():
            super().look_ahead(images)

    def close(self) -> None:
        """End the other ranks, whatever state they are in."""
        patience_s = ENDING_S
        try:
            with self._processes.explained():
                super().close()
        except RankError:
            patience_s = 0.0
        self._processes.close(patience_s)


class _Process:
    """Another rank, from rank 0.

    Args:
        job: What it does.
    """

    def __init__(self, job: Job) -> None:
        self._name = f"rank {job.rank} on {job.device}"
        self._words = ""
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=theirs.fileno(),
                start_new_session=True,  # Ctrl-C is for rank 0, which ends it
            )
        self._lines = self._socket.makefile(encoding="utf-8")
        self._tell(asdict(job))

    @property
    def process_id(self) -> int:
        """Of the system."""
        return self._process.pid

    @property
    def failed(self) -> bool:
        """Whether it has said so, or has ended otherwise than because others did."""
        return bool(self._words) or self._process.poll() not in (None, 0)

    def await_loaded(self) -> bool:
        """Wait until it may join; False where it has failed."""
        return LOADED in self._hear()

    def let_join(self) -> None:
        """Tell it that all have loaded."""
        self._tell({})

    def reason(self) -> str:
        """Say why it failed."""
        while not self._words and self._hear():
            pass
        if self._words:
            return f"{self._name}: {self._words}"
        code = self._process.returncode
        if code >= 0:
            return f"{self._name} ended with code {code}"
        return f"{self._name} was ended by {signal.Signals(-code).name}"

    def end(self, patience_s: float = 0.0) -> None:
        """End it, where it does not end by itself in time [s]."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        self._process.kill()
        self._process.wait()
        self._lines.close()
        self._socket.close()

    def _hear(self) -> dict[str, str]:
        """Wait for what it says next; nothing where it has ended."""
        said: dict[str, str] = {}
        with suppress(OSError):  # it ended without reading what it was told
            said = json.loads(self._lines.readline() or "{}")
        self._words = said.get(FAILED, "")
        return said

    def _tell(self, what: dict[str, Any]) -> None:
        with suppress(OSError):  # if it has ended, what it says next tells why
            self._socket.sendall(json.dumps(what).encode() + b"\n")
