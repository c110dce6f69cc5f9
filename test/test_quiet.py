# SPDX-License-Identifier: Apache-2.0
"""Commands that work say nothing that their libraries want said."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from clips import write_clip
from library_lines import library_lines

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine.library_warnings import hide_known_warnings

pytestmark = pytest.mark.cpu

LOGGED = [
    "W1127 12:24:49.537000 15631 torch/utils/_pytree.py:630] <enum 'KernelPreference'> is an Enum subclass",
    "Failed to load /x/site-packages/torchao/_C_mxfp8.so: Could not load this library",
    "Unable to import `torchao` Tensor objects. This may affect loading checkpoints serialized with it",
    "/x/lark/utils.py:163: DeprecationWarning: module 'sre_parse' is deprecated",
]
PROGRAM = """
import sys
from importlib.metadata import entry_points

def run(main, *arguments):
    sys.argv = ["command", *arguments]
    assert not main()

commands = {entry.name: entry for entry in entry_points(group="console_scripts")}
commands["dreamzero-bench"].load()  # its measurements take half a minute, and import nothing more
evaluate, robot = commands["dreamzero-evaluate"].load(), "--embodiment=droid_franka"
run(evaluate, "make-bag", "clip", robot, "--out=clip.mcap")
model = ("random_weights=tiny", "device=cpu", "dtype=float32", "dit_steps=1", "force_one_step=true", FORMAT)
settings = (f"--set={pair}" for pair in model)
run(evaluate, "run", "clip.mcap", robot, *settings, "--latency=0.3", "--instruction=wipe", "--out=out")
"""


def test_commands_that_work_are_quiet(tmp_path: Path) -> None:
    """In one process of their own, as every library is imported once."""
    write_clip(tmp_path / "clip", [camera.name for camera in load("droid_franka").cameras])
    program = PROGRAM.replace("FORMAT", "'linear_format=fp8_weights'" if find_spec("torchao") else "")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert library_lines(done.stdout + done.stderr) == []


@pytest.mark.parametrize("line", LOGGED)
def test_lines_of_libraries_are_found(line: str) -> None:
    assert library_lines(f"dreamzero tiny\n{line}\nready") == [line]


def test_only_known_messages_are_hidden(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_known_warnings()
    torchao, pytree = logging.getLogger("torchao"), logging.getLogger("torch.utils._pytree")
    for logger in (torchao, pytree):
        monkeypatch.setattr(logger, "propagate", False)
        monkeypatch.setattr(logger, "handlers", [caplog.handler])
    torchao.warning("Failed to load %s: no such library", "_C.so")
    torchao.warning("Something else")
    pytree.warning("%s is an Enum subclass and is now natively supported by torch.compile as an opaque", "X")
    pytree.warning("X is registered twice")
    assert caplog.messages == ["Something else", "X is registered twice"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    torchao.warning("Failed to load %s: no such library", "_C.so")
    assert caplog.messages[-1] == "Failed to load _C.so: no such library", "a GPU may need it"
