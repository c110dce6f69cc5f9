# SPDX-License-Identifier: Apache-2.0
"""What the messages of a stream hold, by the judgement of live nodes and of the player."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Protocol

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.bag import Logged
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.image_size import image_size
from dreamzero_ros.evaluation.streams import Stream
from dreamzero_ros.observation.buffer import SLACK_S
from dreamzero_ros.observation.decode import check_image, decode_image, stamp_ns
from dreamzero_ros.observation.joint_states import JointStateReader
from dreamzero_ros.observation.joint_streams import JointStreams
from dreamzero_ros.observation.judgement import Judgement, ObservationError

NS_PER_S = 1_000_000_000

_Kind = tuple[tuple[int, int] | None, str]
"""Size and encoding of an image."""


class Content(Protocol):
    """Looks at one message after the other."""

    def add(self, logged: Logged) -> int | None:
        """Takes the next message.

        Returns:
            The time up to which the stream is known then, on its own clock [ns], as far as it counts for the
            times of the stream; None where the message cannot be used or tells nothing new.
        """

    def words(self) -> str:
        """What was found, in words."""

    def problems(self) -> list[BagError]:
        """Why it cannot be used."""

    def notices(self) -> list[str]:
        """What is worth knowing."""


class Images:
    """Images, judged as the player does; decoded are those of a size and encoding until one could be.

    Args:
        path: The bag, for errors.
        stream: The camera.
    """

    def __init__(self, path: Path, stream: Stream) -> None:
        self._path = path
        self._stream = stream
        self._judgement = Judgement()
        self._seen: Counter[_Kind] = Counter()
        self._decoded: set[_Kind] = set()
        self._begin_ns = 0
        self._changed_ns = 0

    def add(self, logged: Logged) -> int | None:
        """Takes the next message; returns its stamp [ns], None where it cannot be used."""
        message = logged.message
        self._begin_ns = self._begin_ns or logged.log_ns
        kind = (image_size(message), str(message.format if hasattr(message, "format") else message.encoding))
        self._seen[kind] += 1
        self._judgement.received += 1
        try:
            if kind in self._decoded:
                check_image(message, self._stream.topic)
            else:
                decode_image(message, self._stream.topic)
        except ObservationError as error:
            self._judgement.refuse(error)
            return None
        if self._decoded and kind[0] not in self._sizes():
            self._changed_ns = self._changed_ns or logged.log_ns
        self._decoded.add(kind)
        return stamp_ns(message)

    def _sizes(self) -> set[tuple[int, int] | None]:
        return {size for size, _ in self._decoded}

    def words(self) -> str:
        """Such as "640x480 rgb8"."""
        words = ", ".join(_words(*kind) for kind, _ in self._seen.most_common())
        return words + ("" if self._judgement.used else ", none usable")

    def problems(self) -> list[BagError]:
        """No stretch of images can be used."""
        return _unusable(self._path, self._stream, self._judgement)

    def notices(self) -> list[str]:
        """Some images cannot be used, or the size changes."""
        found = [] if self.problems() else self._judgement.sentences()
        if len(self._sizes()) > 1:
            after_s = (self._changed_ns - self._begin_ns) / 1e9
            found.append(
                f"the size changes, first after {after_s:.1f} s ({self.words()}): all are brought to that of "
                "the robot file; keep the driver at one size"
            )
        return found


def _unusable(path: Path, stream: Stream, judgement: Judgement) -> list[BagError]:
    """Why next to no message of a stream can be used; nothing where two can: a stretch has two ends."""
    if judgement.used > 1:
        return []
    return [
        BagError(
            path, stream.name, kind, f"{found.got} ({found.count} of {judgement.own} messages)", found.fix
        )
        for kind, found in judgement.refusals.items()
    ]


def _words(size: tuple[int, int] | None, encoding: str) -> str:
    return f"{size[0]}x{size[1]} {encoding}" if size else f"no image ({encoding})"


class JointStates:
    """Joint states as the player takes them: judged, and merged where the joints come in several messages.

    Args:
        path: The bag, for errors.
        stream: The joint states.
        robot: The robot.
    """

    def __init__(self, path: Path, stream: Stream, robot: Embodiment) -> None:
        self._path = path
        self._stream = stream
        self._robot = robot
        self._reader = JointStateReader(robot)
        self._merged = JointStreams(len(robot.state_joints), round(SLACK_S * NS_PER_S))
        self._tolerance_ns = round(robot.joint_tolerance_s * NS_PER_S)
        self._known_ns: int | None = None
        self._apart = ""

    def add(self, logged: Logged) -> int | None:
        """Takes a message; returns the time up to which all joints are known [ns], None if unchanged."""
        stamp = stamp_ns(logged.message)
        try:
            reading = self._reader.read(logged.message, stamp, logged.topic)
        except ObservationError:
            return None
        if reading is None:
            return None
        self._merged.add(stamp, reading.positions, reading.columns)
        known_ns = self._merged.newest_ns
        if known_ns is None or known_ns == self._known_ns:
            return None
        distance_ns, part = self._merged.furthest(known_ns)
        if distance_ns > self._tolerance_ns:
            names = ", ".join(self._robot.state_joints[column] for column in part.columns)
            self._apart = self._apart or f"{names} {distance_ns / NS_PER_S:.3f} s away from the others"
            return None
        self._known_ns = known_ns
        return known_ns

    def words(self) -> str:
        """Such as "8 of 8 joints, 1 other, in 2 messages"."""
        joints, reader = self._robot.state_joints, self._reader
        others = len(reader.named - set(joints))
        words = f"{len(joints) - len(reader.unnamed)} of {len(joints)} joints"
        words += f", {others} other" if others else ""
        words += f", in {len(self._merged.parts)} parts" if len(self._merged.parts) > 1 else ""
        return words + ("" if self._reader.judgement.used else ", none usable")

    def problems(self) -> list[BagError]:
        """Joints that no message names, or without a position that can be used, or never at one time."""
        joints, reader = self._robot.state_joints, self._reader
        if reader.unnamed:
            others = sorted(reader.named - set(joints))
            hint = nearest(reader.unnamed[0], others) if others else "no joint is named at all;"
            fix = f"{hint} change the robot file or its --parameter"
            return [self._error(f"joints {', '.join(joints)}", f"no {', '.join(reader.unnamed)}", fix)]
        unusable = _unusable(self._path, self._stream, reader.judgement)
        if unusable or self._known_ns is not None:
            return unusable
        without = [joints[column] for column in self._merged.unheard]
        if without:
            got = f"none of {', '.join(without)} ({'; '.join(reader.judgement.sentences())})"
            return [self._error("positions of every joint", got, "look at the publisher of these joints")]
        fix = "let all publishers of joint states stamp with one clock"
        return [self._error("joint states of one time", self._apart, fix)]

    def notices(self) -> list[str]:
        """Messages that cannot be used, and what is odd about the others."""
        return [] if self.problems() else self._reader.judgement.sentences()

    def _error(self, expected: str, got: str, fix: str) -> BagError:
        return BagError(self._path, self._stream.name, expected, got, fix)
