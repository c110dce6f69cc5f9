# SPDX-License-Identifier: Apache-2.0
"""Child processes that end with their parent, whatever happens."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent ends."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

PATIENCE_S = 15.0
"""Time for a node to stop softly and free what it holds after SIGINT [s]."""


class Processes:
    """Runs nodes as processes; as a context manager it ends all of them on the way out.

    Args:
        environment: Of every process.
        log_folder: Each process writes `<name>.log` there.
    """

    def __init__(self, environment: Mapping[str, str], log_folder: Path) -> None:
        self._environment = dict(environment)
        self._log_folder = log_folder
        self._log_folder.mkdir(parents=True, exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str, arguments: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Starts `python -m module arguments` under a name; called by the main thread."""
        with self.log(name).open("wb") as log, _uninterrupted():
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the parent only, which ends these in order
                preexec_fn=_end_with_parent,
            )
            self._running[name] = process
        return process

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._log_folder / f"{name}.log"

    def ended(self) -> str | None:
        """Name of a process that ended although nobody asked it to, or None."""
        for name, process in self._running.items():
            if process.poll() is not None:
                return name
        return None

    def stop(self) -> dict[str, int]:
        """Ends every process, the last started first; returns exit codes by name."""
        codes = {name: _stop(process) for name, process in reversed(self._running.items())}
        self._running.clear()
        return codes

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts signals off, so that none falls between the start of a process and its entry in the list.

    Their handlers are exchanged, which a process that is started does not inherit. To block signals would
    not do: another thread takes them, and the main thread handles them all the same.
    """
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda taken, _: came.append(taken)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _end_with_parent() -> None:
    """Runs in the child before it becomes the node."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
