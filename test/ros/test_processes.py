# SPDX-License-Identifier: Apache-2.0
"""Child processes end with their parent, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from dreamzero_ros.ros.processes import Processes

pytestmark = pytest.mark.ros

SLEEPER = """
import signal, sys, time
def leave(signum, frame):
    print("asked", flush=True)
    sys.exit(int({code}))
signal.signal(signal.SIGINT, leave)
print("up", flush=True)
while True: time.sleep(0.05)
"""
PARENT = """
import sys, time
from pathlib import Path
from dreamzero_ros.ros.processes import Processes
folder = Path({folder!r})
children = Processes({environment!r}, folder)
print(children.start("child", "sleeper").pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sleeper.py").write_text(SLEEPER.format(code=0))
    (tmp_path / "failer.py").write_text(SLEEPER.format(code=3))
    return os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}


def await_line(path: Path, line: str) -> None:
    limit = time.monotonic() + 20
    while line not in path.read_text().splitlines():
        assert time.monotonic() < limit, path.read_text()
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_stop_asks_each_and_tells_how_it_ended(environment: dict[str, str], tmp_path: Path) -> None:
    processes = Processes(environment, tmp_path / "log")
    processes.start("good", "sleeper")
    processes.start("bad", "failer")
    for name in ("good", "bad"):
        await_line(processes.log(name), "up")
    assert processes.ended() is None
    assert list(processes.stop().items()) == [("bad", 3), ("good", 0)]
    assert "asked" in processes.log("good").read_text()
    assert processes.stop() == {}


def test_a_process_that_ends_by_itself_is_noticed(environment: dict[str, str], tmp_path: Path) -> None:
    with Processes(environment, tmp_path / "log") as processes:
        processes.start("missing", "no_such_module").wait()
        assert processes.ended() == "missing"
        assert "no_such_module" in processes.log("missing").read_text()


def test_a_block_that_raises_ends_them(environment: dict[str, str], tmp_path: Path) -> None:
    children = []

    def fail_within() -> None:
        with Processes(environment, tmp_path / "log") as processes:
            children.append(processes.start("child", "sleeper"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_within()
    assert children[0].poll() is not None


def test_ctrl_c_amid_a_start_loses_no_process(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)  # another thread may take it

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    rest = Event()
    Thread(target=rest.wait).start()
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    processes = Processes(environment, tmp_path / "log")
    try:
        with pytest.raises(KeyboardInterrupt):
            processes.start("child", "sleeper")
    finally:
        signal.signal(signal.SIGINT, before)
        rest.set()
    await_line(processes.log("child"), "up")
    assert processes.stop() == {"child": 0}


def test_a_killed_parent_takes_its_children_along(environment: dict[str, str], tmp_path: Path) -> None:
    code = PARENT.format(folder=str(tmp_path / "log"), environment=environment)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    await_line(tmp_path / "log" / "child.log", "up")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    limit = time.monotonic() + 10
    while not gone(child):
        assert time.monotonic() < limit, "the child lives on"
        time.sleep(0.02)
