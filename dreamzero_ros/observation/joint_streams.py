# SPDX-License-Identifier: Apache-2.0
"""Joint positions by stamp, of a robot whose joints may come in several messages.

A driver may send an arm and its gripper apart, each at its own rate. Joints that have always come together
form a *part* and share one stream; a message that names some joints of a part only divides it. Each joint is
thus as fresh as the messages that name it, and nothing is made up for a joint that no message names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.observation.stream import Added, Stream

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Part:
    """Joints that have come in the same messages so far."""

    columns: tuple[int, ...]
    """Which of the robot's joints, increasing."""
    stream: Stream[Floats]
    """Positions in the order of `columns`; never empty."""

    def at(self, stamp_ns: int) -> Floats:
        """Positions at a time: interpolated between those around it, else the nearest."""
        stamps, items = self.stream.stamps, self.stream.items
        after = bisect_left(stamps, stamp_ns)
        if after in (0, len(stamps)):
            return items[min(after, len(stamps) - 1)]
        start_ns, end_ns = stamps[after - 1], stamps[after]
        fraction = (stamp_ns - start_ns) / (end_ns - start_ns)
        between: Floats = items[after - 1] + fraction * (items[after] - items[after - 1])
        return between

    def distance_ns(self, stamp_ns: int) -> int:
        """How far the nearest positions are from a time [ns]."""
        return abs(self.stream.stamps[self.stream.nearest(stamp_ns)] - stamp_ns)


class JointStreams:
    """Merges the joint states of a robot by joint and stamp.

    Args:
        joints: J, the number of joints.
        span_ns: How far back positions are kept, by the stamps of each part [ns].
    """

    def __init__(self, joints: int, span_ns: int) -> None:
        self._all = tuple(range(joints))
        self._span_ns = span_ns
        self._routes: dict[tuple[int, ...], list[tuple[Part, list[int]]]] = {}
        self.parts: list[Part] = []
        """By the order in which they were first heard; together they hold every joint that was heard."""
        self.received = self.replaced = self.restarts = 0
        """Messages; of them, with a stamp that was there already; of them, with a stamp that jumped back."""

    def add(self, stamp_ns: int, positions: Floats, columns: tuple[int, ...] | None = None) -> Added:
        """Takes the positions of one message.

        Args:
            stamp_ns: Time of the measurement [ns].
            positions: (n,) [rad or m]; must not be changed afterwards.
            columns: (n,) which joints, increasing; None for all.
        """
        columns = self._all if columns is None else columns
        route = self._routes.get(columns)
        if route is None:
            self._divide(columns)
            route = self._routes[columns] = self._route(columns)
        became = Added.STORED
        for part, picked in route:
            one = part.stream.add(stamp_ns, positions if len(route) == 1 else positions[picked])
            if became is not Added.RESTARTED and one is not Added.STORED:
                became = one
        self.received += 1
        self.replaced += became is Added.REPLACED
        self.restarts += became is Added.RESTARTED
        return became

    def clear(self) -> None:
        """Forgets everything but the counts."""
        self.parts.clear()
        self._routes.clear()

    @property
    def unheard(self) -> tuple[int, ...]:
        """Joints without a position."""
        heard = {column for part in self.parts for column in part.columns}
        return tuple(column for column in self._all if column not in heard)

    @property
    def newest_ns(self) -> int | None:
        """The newest time up to which every joint has come [ns]; None while one has not."""
        if sum(len(part.columns) for part in self.parts) < len(self._all):
            return None
        return min(part.stream.stamps[-1] for part in self.parts)

    def at(self, stamp_ns: int) -> Floats:
        """(J,) positions at a time; every joint must have been heard."""
        return self._together(lambda part: part.at(stamp_ns))

    def at_newest(self, newest_ns: int) -> Floats:
        """(J,) positions at `newest_ns`, as they came where they came then."""
        return self._together(
            lambda part: part.at(newest_ns) if part.stream.stamps[-1] > newest_ns else part.stream.items[-1]
        )

    def furthest(self, stamp_ns: int) -> tuple[int, Part]:
        """The part whose nearest positions are furthest from a time, and how far [ns]."""
        return max(((part.distance_ns(stamp_ns), part) for part in self.parts), key=lambda found: found[0])

    def newest(self) -> Floats:
        """(J,) the newest position of each joint, each of its own time; every joint must have been heard."""
        return self._together(lambda part: part.stream.items[-1])

    def _together(self, positions: Callable[[Part], Floats]) -> Floats:
        found = np.empty(len(self._all))
        for part in self.parts:
            found[list(part.columns)] = positions(part)
        return found

    def _divide(self, columns: Sequence[int]) -> None:
        """Makes parts so that a message with these joints is made of whole ones."""
        named, unheard, parts = set(columns), self.unheard, list[Part]()
        for part in self.parts:
            for inside in (True, False):
                picked = [i for i, column in enumerate(part.columns) if (column in named) is inside]
                if picked:
                    parts.append(part if len(picked) == len(part.columns) else self._share(part, picked))
        rest = tuple(column for column in columns if column in unheard)
        if rest:
            parts.append(Part(rest, Stream(self._span_ns)))
        self.parts = parts
        self._routes.clear()

    def _share(self, part: Part, picked: list[int]) -> Part:
        stream: Stream[Floats] = Stream(self._span_ns)
        stream.stamps = list(part.stream.stamps)
        stream.items = [item[picked] for item in part.stream.items]
        stream.left_ns = part.stream.left_ns
        return Part(tuple(part.columns[index] for index in picked), stream)

    def _route(self, columns: tuple[int, ...]) -> list[tuple[Part, list[int]]]:
        """The parts of a message, and the places of their joints in it."""
        return [
            (part, [columns.index(column) for column in part.columns])
            for part in self.parts
            if part.columns[0] in columns
        ]
