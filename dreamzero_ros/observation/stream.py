# SPDX-License-Identifier: Apache-2.0
"""Items of one source, ordered by their stamps."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

import numpy as np

ROUNDING = 1e-6
"""Share of a period by which stamps to come are uncertain, for being whole nanoseconds."""

_Item = TypeVar("_Item")


class Added(Enum):
    """What became of something that was added."""

    STORED = "stored"
    """It is in its place by stamp."""
    REPLACED = "replaced"
    """It took the place of one with the same stamp."""
    RESTARTED = "restarted"
    """Its stamp is further behind than the stream keeps, so the clock has jumped back (a bag that loops, a
    simulation that was reset): what the stream held was dropped."""


class Stream(Generic[_Item]):
    """Items by stamp; what lies more than `span_ns` before the newest is dropped."""

    def __init__(self, span_ns: int) -> None:
        self.span_ns = span_ns
        self.stamps: list[int] = []
        self.items: list[_Item] = []
        self.received = self.replaced = self.restarts = 0
        self.left_ns = 0
        """Newest stamp before the last restart [ns]."""

    def add(self, stamp_ns: int, item: _Item) -> Added:
        """Puts an item in its place by stamp."""
        self.received += 1
        restarted = bool(self.stamps) and stamp_ns < self.stamps[-1] - self.span_ns
        if restarted:
            self.restarts += 1
            self.left_ns = self.stamps[-1]
            self.clear()
        place = bisect_left(self.stamps, stamp_ns)
        if place < len(self.stamps) and self.stamps[place] == stamp_ns:
            self.replaced += 1
            self.items[place] = item
            return Added.REPLACED
        self.stamps.insert(place, stamp_ns)
        self.items.insert(place, item)
        expired = bisect_left(self.stamps, self.stamps[-1] - self.span_ns)
        del self.stamps[:expired], self.items[:expired]
        return Added.RESTARTED if restarted else Added.STORED

    def clear(self) -> None:
        """Drops the items, not the counts."""
        self.stamps.clear()
        self.items.clear()

    def nearest(self, time_ns: int) -> int:
        """Index of the item nearest in time; there must be one."""
        after = bisect_left(self.stamps, time_ns)
        around = [index for index in (after - 1, after) if 0 <= index < len(self.stamps)]
        return min(around, key=lambda index: abs(self.stamps[index] - time_ns))

    def rhythm(self) -> Rhythm:
        """How the stamps have come so far; there must be two. A gap counts as the items that it lacks."""
        steps_ns = np.diff(self.stamps)
        periods = np.rint(steps_ns / np.median(steps_ns)).sum()
        return Rhythm(self.stamps[-1], float(steps_ns.sum() / periods))


@dataclass(frozen=True)
class Rhythm:
    """The stamps of a stream that goes on as it did."""

    newest_ns: int
    period_ns: float

    def first_from(self, time_ns: int) -> int:
        """The first one at a time or later."""
        return self._stamp(math.ceil((time_ns - self.newest_ns) / self.period_ns - ROUNDING))

    def last_until(self, time_ns: int) -> int:
        """The last one at a time or before."""
        return self._stamp(math.floor((time_ns - self.newest_ns) / self.period_ns + ROUNDING))

    def settled(self, time_ns: int) -> bool:
        """Whether no stamp that is still to come will be nearer to a time than one that is there."""
        return time_ns <= self.newest_ns + self.period_ns / 2

    def _stamp(self, number: int) -> int:
        return self.newest_ns + round(number * self.period_ns)
