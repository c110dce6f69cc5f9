# SPDX-License-Identifier: Apache-2.0
"""Two reports over the same episodes: what changed from one to the other, and whether it may be chance.

Episodes are paired: both sides are pooled over the episodes that both have, and the bootstrap draws the same
episodes for both, so that what makes an episode hard cancels out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from dreamzero_ros.evaluation.metrics import SUFFIXES, Better, Metric, Tallies, definitions
from dreamzero_ros.evaluation.statistics import interval, values

Verdict = Literal["better", "worse", "changed", "equal", "unclear"]
Report = Mapping[str, Any]
"""Content of report.json, as `summary.read_summary` gives it."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One metric on both sides; NaN where a side has no value."""

    unit: str
    better: Better | None
    a: float
    b: float
    low: float
    """Low end of the interval of the difference; NaN where fewer than two episodes say anything."""
    high: float
    """High end."""

    @property
    def difference(self) -> float:
        """B minus a."""
        return self.b - self.a

    @property
    def relative(self) -> float:
        """Difference as a share of a; infinite for any difference from 0."""
        if self.difference == 0:
            return 0.0
        return self.difference / abs(self.a) if self.a else float("inf") * self.difference

    @property
    def verdict(self) -> Verdict:
        """What b is against a; "unclear" where the interval of the difference holds 0, or there is none."""
        if self.difference == 0 and not (self.low < 0 or self.high > 0):
            return "equal"
        if not (self.low > 0 or self.high < 0):
            return "unclear"
        if self.better is None:
            return "changed"
        return "better" if (self.difference > 0) == (self.better == "higher") else "worse"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found."""

    changes: Mapping[str, Change]
    """By metric, in the order of the reports."""
    episodes: int
    """How many both have."""
    only_a: tuple[str, ...]
    """Ids of the episodes that b lacks, or in which it asked the policy nothing; they take no part."""
    only_b: tuple[str, ...]
    """Ids of the episodes that a lacks, or in which it asked the policy nothing; they take no part."""


def compare(a: Report, b: Report) -> Comparison:
    """Compares two reports over the episodes that both have.

    An episode is the same when id, name of the bag and begin are equal.

    Raises:
        ValueError: The reports are not of one robot, reference and horizon, share no episode, or one has none
            in which the policy was asked.
    """
    _check(a, b)
    ours, theirs = _episodes(a), _episodes(b)
    for side, episodes in (("first", ours), ("second", theirs)):
        if not episodes:
            raise ValueError(
                f"episodes: expected some in which the policy was asked, got none in the {side} report; look "
                "into its summary.md for the reason"
            )
    common = [key for key in ours if key in theirs]
    if not common:
        raise ValueError(
            f"episodes: expected some that both reports have, got {_some(ours)} and {_some(theirs)}; "
            "compare evaluations of the same bags with the same episodes"
        )
    sides = [ours[key] for key in common], [theirs[key] for key in common]
    known = definitions(SUFFIXES, len(a["horizon"]["step"]))
    shared = (name for name in a["metrics"] if name in b["metrics"] and name in known)
    return Comparison(
        changes={name: _change(name, known[name], *sides) for name in shared},
        episodes=len(common),
        only_a=tuple(key[0] for key in ours if key not in theirs),
        only_b=tuple(key[0] for key in theirs if key not in ours),
    )


def _check(a: Report, b: Report) -> None:
    facts: dict[str, Callable[[Report], Any]] = {
        "embodiment": lambda report: report["embodiment"],
        "joints": lambda report: ", ".join(report["joints"]),
        "reference": lambda report: report["reference"],
        "horizon": lambda report: len(report["horizon"]["step"]),
    }
    for what, fact in facts.items():
        if fact(a) != fact(b):
            raise ValueError(
                f"{what}: expected the same in both reports, got {fact(a)!r} and {fact(b)!r}; "
                "errors of the two do not mean the same"
            )


_Key = tuple[str, str, int]
"""Id, name of the bag, begin [ns]."""


def _episodes(report: Report) -> dict[_Key, Tallies]:
    """Those in which the policy was asked."""
    return {
        (entry["id"], PurePath(entry["bag"]).name, entry["start_ns"]): Tallies.of(entry["tallies"])
        for entry in report["episodes"]
        if entry["calls"]
    }


def _some(episodes: Mapping[_Key, Tallies]) -> str:
    return ", ".join(key[0] for key in list(episodes)[:3]) or "none"


def _change(name: str, metric: Metric, ours: list[Tallies], theirs: list[Tallies]) -> Change:
    drawn = [values(name, metric, side) for side in (ours, theirs)]
    informative = sum(
        metric.known(name, one) and metric.known(name, other) for one, other in zip(ours, theirs, strict=True)
    )
    low, high = interval(metric, drawn[1] - drawn[0], informative)
    a, b = (float(side[0]) for side in drawn)
    return Change(unit=metric.unit, better=metric.better, a=a, b=b, low=low, high=high)
