# SPDX-License-Identifier: Apache-2.0
"""What a stage of the report found, and how it is written: whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

PASSED, FAILED, CRASHED, TIMED_OUT, CUT, SKIPPED, NOT_RUN, RUNNING = (
    "passed",
    "failed",
    "crashed",
    "timed out",
    "cut short",
    "skipped",
    "not run",
    "running",
)
"""What becomes of a stage. Cut short: the time for the whole report was over."""

ROUNDINGS = 2.0
"""How many times as far from the truth as the plain engine something may be that sums in another order: the
two differ by at most the sum of their own errors, and neither needs to be the worse."""

FAULTS = (FAILED, CRASHED, TIMED_OUT)
"""Ends of a stage that make the report a failure."""


@dataclass(frozen=True)
class Check:
    """A number that says whether something is right."""

    what: str
    error: float
    bound: float
    """Largest error that is right; it follows from other numbers, which `why` tells."""
    why: str

    @property
    def right(self) -> bool:
        """Whether the error is within the bound; no number never is."""
        return self.error <= self.bound


@dataclass(frozen=True)
class Goal:
    """A figure beside what it should be."""

    what: str
    value: float
    goal: float
    unit: str
    at_most: bool = True
    """Whether less is better."""

    @property
    def shortfall(self) -> float:
        """How many times as bad as the goal the figure is; 1 and less: the goal is reached."""
        return self.value / self.goal if self.at_most else self.goal / max(self.value, 1e-9)


@dataclass
class Result:
    """What one part of a stage found."""

    title: str
    columns: Sequence[str] = ()
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences below the table."""
    checks: list[Check] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """Numbers for scripts."""
    error: str = ""
    """Words of what went wrong, where something did."""
    group: str = ""
    """Title of a table that results one after the other share; none: a table of its own."""

    def as_json(self) -> dict[str, Any]:
        """Return all of it with the verdicts."""
        verdicts = [
            asdict(check) | {"error": _number(check.error), "right": check.right} for check in self.checks
        ]
        goals = [asdict(goal) | {"shortfall": round(goal.shortfall, 3)} for goal in self.goals]
        right = not self.error and all(check.right for check in self.checks)
        return asdict(self) | {"checks": verdicts, "goals": goals, "right": right}


def _number(value: float) -> float | str:
    """Return a number that JSON knows, or the name of one that it does not."""
    return value if math.isfinite(value) else str(value)


class Part(NamedTuple):
    """One measurement of a stage."""

    title: str
    measure: Callable[[], Result]


class NotHereError(Exception):
    """This machine cannot do it; says in words what is missing."""


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is never seen half written."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that is never seen half written."""
    write_whole(path, json.dumps(content, indent=1) + "\n")
