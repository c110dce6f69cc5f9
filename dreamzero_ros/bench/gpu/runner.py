# SPDX-License-Identifier: Apache-2.0
"""Starts the stages one after the other, each as a group of processes with a limit; keeps what they wrote.

However a stage ends, what it had found until then stays, and the next stage begins.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dreamzero_ros.bench.gpu.page import write_page
from dreamzero_ros.bench.gpu.results import CRASHED, CUT, FAULTS, NOT_RUN, RUNNING, TIMED_OUT, write_json
from dreamzero_ros.bench.gpu.stages import Stage

CHILD = "dreamzero_ros.bench.gpu.child"
BUDGET_S = 480.0
"""Time for a whole report, for which the limits of the stages are made [s]."""
LEAST_S = 10.0
"""A stage is not begun when less time than this is left [s]."""
LAST_LINES = 15
"""Lines of a stage's own words that are kept of one that crashed or hung."""


@dataclass
class Report:
    """A report under way.

    Args:
        device: As in torch.
        sizes: Name of the sizes.
        out: Folder of the report.
        budget_s: Time for all stages together [s]; more than `BUDGET_S` lengthens their limits, too.
    """

    device: str
    sizes: str
    out: Path
    budget_s: float
    begun: float = field(default_factory=time.monotonic)
    done: list[dict[str, Any]] = field(default_factory=list)
    """What is known of the stages that ended."""

    @property
    def left_s(self) -> float:
        """Time that is left for all stages [s]."""
        return self.budget_s - (time.monotonic() - self.begun)

    def run(self, stages: Sequence[Stage]) -> bool:
        """Run the stages in their order; returns whether all that could run passed.

        A page is written after each of them, also where a KeyboardInterrupt ends the report.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        for stage in stages:
            self._path(stage).unlink(missing_ok=True)  # of a report before: no page may mix two
        for stage in stages:
            print(f"{stage.title} ...", end=" ", flush=True)
            try:
                self._stage(stage)
            finally:
                waiting = [stage.title for stage in stages[len(self.done) :]]
                taken_s = time.monotonic() - self.begun
                write_page(self.out / "report.md", self.done, waiting, self.sizes, taken_s)
            print(_line(self.done[-1]), flush=True)
        parts = [result for stage in self.done for result in stage["results"]]
        return not any(told["status"] in FAULTS for told in (*self.done, *parts))

    def _path(self, stage: Stage) -> Path:
        return self.out / f"{stage.number:02}_{stage.name}.json"

    def _stage(self, stage: Stage) -> None:
        """Run one stage and keep how it ended."""
        path = self._path(stage)
        own_limit_s = stage.limit_s * max(1.0, self.budget_s / BUDGET_S)
        limit_s = min(own_limit_s, self.left_s)
        about = {"stage": stage.name, "title": stage.title, "limit_s": round(limit_s, 1)}
        if limit_s < LEAST_S and limit_s < own_limit_s:
            self._keep(path, about, 0.0, NOT_RUN, "the time was over")
            return
        begin = time.monotonic()
        log = path.with_suffix(".log")
        try:
            code = self._process(stage, path, log, limit_s)
        except KeyboardInterrupt:
            self._keep(path, about, time.monotonic() - begin, CUT, "interrupted")
            raise
        if code is None and limit_s < own_limit_s:
            status, words = CUT, f"the time for the report was over after {limit_s:.0f} s of this stage"
        elif code is None:
            status, words = TIMED_OUT, f"not done after {limit_s:.0f} s: {_last_lines(log)}"
        elif code != 0:
            how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            status, words = CRASHED, f"{how}: {_last_lines(log)}"
        else:
            status, words = "", ""
        self._keep(path, about, time.monotonic() - begin, status, words)

    def _process(self, stage: Stage, path: Path, log: Path, limit_s: float) -> int | None:
        """Run the process of a stage; returns its exit code, or None where it was not done in time."""
        words = [sys.executable, "-m", CHILD, stage.parts, "--out", str(path)]
        words += ["--device", self.device, "--sizes", self.sizes]
        with log.open("wb") as output:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what it starts ends with it
            )
            try:
                return process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _keep(self, path: Path, about: dict[str, Any], taken_s: float, status: str, words: str) -> None:
        """Add how a stage ended to what it wrote itself; no status: as it says itself."""
        found: dict[str, Any] = {"status": RUNNING, "results": []}
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
        told = about | {"seconds": round(taken_s, 1), "words": words} | found
        told["status"] = status or told["status"]
        write_json(path, told)
        self.done.append(told)


def _line(stage: dict[str, Any]) -> str:
    """Say in a few words how a stage ended."""
    words = f": {stage['words'].splitlines()[0]}" if stage["words"] else ""
    wrong = [result["part"] for result in stage["results"] if not result["right"]]
    told = f"{stage['status']}, {stage['seconds']:.0f} s{words}"
    return told + (f"; wrong: {', '.join(wrong)}" if wrong else "")


def _last_lines(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-LAST_LINES:]) or "no words"
