# SPDX-License-Identifier: Apache-2.0
"""Processes that begin with everything imported: forked from one that has, they are there at once.

A node that runs a model imports for seconds, and the tests start more than a hundred. Such a process calls
the `main` of its module, as the installed command does. That nodes start from nothing, `test_start.py`,
`test_demo.py` and the tests of launch files see.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess

from dreamzero_ros.ros.processes import Processes

IMPORTED = [
    "dreamzero_ros.engine.shared_session",
    "dreamzero_ros.policy.dreamzero_factory",
    "dreamzero_ros.ros.check.command",
    "dreamzero_ros.ros.check.preflight",
    "dreamzero_ros.ros.policy_node",
    "dreamzero_ros.ros.sim_node",
]
"""What a process that is forked has imported, where it can be imported at all."""

PR_SET_PDEATHSIG = 1
"""Linux: the signal that a process gets when its parent ends."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(IMPORTED)


class WarmProcess:
    """A forked process, used like a `subprocess.Popen`."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; returns the exit code."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """As `subprocess.Popen`."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As `subprocess.Popen`."""
        self._process.kill()


class WarmProcesses(Processes):
    """Runs nodes as `Processes` does, in forked processes."""

    def start(self, name: str, module: str, arguments: Sequence[str] = ()) -> WarmProcess:
        """Calls `main` of the module with arguments, under a name."""
        told = (module, list(arguments), self._environment, str(self.log(name)))
        process = CONTEXT.Process(target=_run, args=told, name=name, daemon=True)
        process.start()
        self._running[name] = WarmProcess(process)
        return self._running[name]


def _run(module: str, arguments: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # its parent ends as the tests do
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = [module, *arguments]
    multiprocessing.process.current_process()._config["daemon"] = False  # it may have children of its own
    code = _exit_code(module)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).exit(code)  # as the end of Python does: Fast DDS then removes its shared memory


def _exit_code(module: str) -> int:
    """Calls `main` of a module; returns what a process that runs it ends with."""
    try:
        code = importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        return 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return code or 0
