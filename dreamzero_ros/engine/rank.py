# SPDX-License-Identifier: Apache-2.0
"""Another rank of a session, as `RankProcesses` starts it: it loads, joins and computes along."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import threading
import traceback
from contextlib import suppress
from typing import TextIO

import torch

from dreamzero_ros.engine.parallel import RankError
from dreamzero_ros.engine.rank_processes import FAILED, LOADED, Job
from dreamzero_ros.engine.shared_session import serve

TIDY_UP_S = 5.0
"""Longest time in which the end of rank 0 is heard of, after its connections broke [s]."""


def main() -> None:
    """Do what the first line of the standard input says, which is a socket to rank 0."""
    line = _socket_of_input()
    lines = line.makefile(encoding="utf-8")
    job = Job(**json.loads(lines.readline()))
    may_join = threading.Event()
    listener = threading.Thread(target=_listen, args=(lines, may_join, job.folder), daemon=True)
    listener.start()
    code = 0
    try:
        _compute(job, line, may_join)
    except RankError:
        listener.join(TIDY_UP_S)  # rank 0 finds out whose fault it is; where it ended, the listener ends this
    except Exception as error:
        traceback.print_exc()
        words = str(error).partition("\n")[0] or type(error).__name__
        _say(line, FAILED, words)
        code = 1
    os._exit(code)  # at once, whatever state its libraries are in


def _compute(job: Job, line: socket.socket, may_join: threading.Event) -> None:
    torch.set_num_threads(job.threads)
    module, _, function = job.make.partition(":")
    work = getattr(importlib.import_module(module), function)(device=job.device, **job.arguments)
    _say(line, LOADED, "")
    may_join.wait()
    ranks = job.join()
    serve(work.engine, work.sampler, ranks, switches=work.switches)
    ranks.leave()


def _listen(lines: TextIO, may_join: threading.Event, folder: str) -> None:
    """Hear when to join, and end with rank 0."""
    with suppress(OSError):  # where rank 0 ended without reading what it was told
        for _ in lines:
            may_join.set()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _say(line: socket.socket, what: str, words: str) -> None:
    line.sendall(json.dumps({what: words}).encode() + b"\n")


def _socket_of_input() -> socket.socket:
    """Take the socket away from the standard input, which processes of this one would inherit."""
    line = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return line


if __name__ == "__main__":
    main()
