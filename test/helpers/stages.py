# SPDX-License-Identifier: Apache-2.0
"""Parts of a GPU report that are quick, or that go wrong in the ways in which a stage can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from dreamzero_ros.bench.gpu.results import Check, Goal, NotHereError, Part, Result
from dreamzero_ros.bench.gpu.sizes import Sizes

GRANDCHILD = "GRANDCHILD_FILE"
"""Variable with the file to which a stage writes the process that it started."""


def found(error: float = 0.5) -> Result:
    """A table with one check and one goal."""
    return Result(
        "what was found",
        ("what", "value"),
        [("a", "1")],
        ["a note"],
        [Check("a", error, 1.0, "it is one")],
        [Goal("speed", 3.0, 1.5, "s")],
    )


def well(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """All is well."""
    yield Part("first", found)
    yield Part("second", found)


def wrong(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """One part raises, one is beyond its bound, one has no number, the last one is well."""

    def fail() -> Result:
        raise RuntimeError("out of memory")

    yield Part("raises", fail)
    yield Part("beyond", lambda: found(1.5))
    yield Part("no number", lambda: found(float("nan")))
    yield Part("fine", found)


def missing(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """A library is missing."""

    def refuse() -> Result:
        raise NotHereError("needs torchao")

    yield Part("needs more", refuse)


def killed(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """The process ends in the second part, as of a signal."""
    yield Part("first", found)
    print("about to end", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
    yield Part("never", found)


def hangs(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """A process of its own is started, and the second part never ends."""
    yield Part("first", found)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ[GRANDCHILD]).write_text(str(sleeper.pid))
    time.sleep(600)
    yield Part("never", found)
