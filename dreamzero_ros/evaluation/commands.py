# SPDX-License-Identifier: Apache-2.0
"""Which joints recorded commands tell where to be: the one judgement whether commands are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.evaluation.bag import Bag, Logged
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.streams import Stream


class Commands:
    """Looks at one JointTrajectory after the other; those without points stop an arm and are passed over.

    A joint is commanded by a message that has a point with a position of it. Velocities, efforts, empty lists
    and NaN say nothing about positions: such joints are compared with later joint states.

    Args:
        bag: The recording.
        stream: The commands.
        joints: Those of the controller.
    """

    def __init__(self, bag: Bag, stream: Stream, joints: Sequence[str]) -> None:
        self._bag = bag
        self._stream = stream
        self._joints = joints
        self._named: set[str] = set()
        self._others: set[str] = set()
        self._told: set[str] = set()
        self._counts: Counter[str] = Counter()

    @property
    def commanded(self) -> tuple[str, ...]:
        """The joints of the controller that some message tells where to be."""
        return tuple(joint for joint in self._joints if joint in self._told)

    def add(self, logged: Logged) -> int:
        """Takes the next message; returns its log time [ns], since its stamp may be 0 for "now"."""
        message = logged.message
        names = joint_names(message, self._joints)
        self._others |= {name for name in names if name not in self._joints}
        self._named |= {name for name in names if name in self._joints}
        told = {name for point in message.points for name in _positioned(point, names)}
        self._told |= told
        if message.points and message.joint_names:
            self._counts["messages"] += 1
            self._counts["without positions"] += not told
            self._counts["with velocities"] += any(len(point.velocities) for point in message.points)
        return logged.log_ns

    def words(self) -> str:
        """Such as "7 of 7 joints, 1 other"."""
        others = f", {len(self._others)} other" if self._others else ""
        return f"{len(self.commanded)} of {len(self._joints)} joints{others}"

    def problems(self) -> list[BagError]:
        """No joint is commanded."""
        if self.commanded:
            return []
        if not self._named:
            close = nearest(self._joints[0], self._others)
            return [
                self._error(
                    f"joints {', '.join(self._joints)}",
                    f"no {', '.join(self._joints)}",
                    f"{close} change the robot file or its --parameter",
                )
            ]
        count = self._counts["messages"]
        got = "no points" if not count else f"{count} messages without any"
        got += ", with velocities only" if self._counts["with velocities"] else ""
        return [
            self._error(
                "positions in the points", got, "joint states are compared with instead, where they went"
            )
        ]

    def notices(self) -> list[str]:
        """Joints that are left out, and messages that are not used."""
        if not self.commanded:
            return []
        found = []
        rest = [joint for joint in self._joints if joint not in self._told]
        if rest:
            found.append(f"no positions for {', '.join(rest)}: compared with joint states")
        empty = self._counts["without positions"]
        if empty:
            found.append(
                f"{empty} of {self._counts['messages']} messages have no positions: nothing is known then"
            )
        return found

    def _error(self, expected: str, got: str, fix: str) -> BagError:
        return BagError(self._bag.path, self._stream.name, expected, got, fix)


def joint_names(message: Any, joints: Sequence[str]) -> list[str]:
    """Whom a JointTrajectory tells something: the joints of its controller where it does not say."""
    return list(message.joint_names) or list(joints)


def commanded_joints(bag: Bag, stream: Stream, joints: Sequence[str]) -> tuple[str, ...]:
    """The joints of a controller that its commands in a bag tell where to be; reads no further than needed.

    Raises:
        BagError: The bag is damaged.
    """
    topic = bag.topics.get(stream.topic)
    if topic is None or topic.type not in stream.kind.value:
        return ()
    commands = Commands(bag, stream, joints)
    for logged in bag.messages([stream.topic]):
        commands.add(logged)
        if len(commands.commanded) == len(joints):
            break
    return commands.commanded


def _positioned(point: Any, names: Sequence[str]) -> Iterator[str]:
    if len(point.positions) == len(names):
        yield from (name for name, position in zip(names, point.positions, strict=True) if isfinite(position))
