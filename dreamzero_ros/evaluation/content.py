# SPDX-License-Identifier: Apache-2.0
"""What the messages of a stream hold: images of one size that can be decoded, or joints by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.evaluation.bag import Logged
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.image_size import image_size
from dreamzero_ros.evaluation.streams import Stream
from dreamzero_ros.observation.decode import ObservationError, decode_image

_Kind = tuple[tuple[int, int] | None, str]
"""Size and encoding of an image."""


class Content(Protocol):
    """Looks at one message after the other."""

    def add(self, logged: Logged) -> None:
        """Takes the next message."""

    def words(self) -> str:
        """What was found, in words."""

    def problems(self) -> list[BagError]:
        """Why it cannot be used."""

    def notices(self) -> list[str]:
        """What is worth knowing."""


class Images:
    """Sizes and encodings, from the headers; the first image of each size and encoding is decoded.

    Args:
        path: The bag, for errors.
        stream: The camera.
    """

    def __init__(self, path: Path, stream: Stream) -> None:
        self._path = path
        self._stream = stream
        self._kinds: Counter[_Kind] = Counter()
        self._refused: dict[_Kind, BagError] = {}
        self._begin_ns = 0
        self._changed_ns = 0

    def add(self, logged: Logged) -> None:
        """Takes the next message."""
        message = logged.message
        self._begin_ns = self._begin_ns or logged.log_ns
        kind = (image_size(message), str(message.format if hasattr(message, "format") else message.encoding))
        if kind not in self._kinds:
            self._decode(kind, message)
            if len(self._sizes()) == 1 and kind[0] not in self._sizes() and kind not in self._refused:
                self._changed_ns = logged.log_ns
        self._kinds[kind] += 1

    def _decode(self, kind: _Kind, message: Any) -> None:
        try:
            decode_image(message, self._stream.topic)
        except ObservationError as error:
            got, _, fix = str(error).rpartition("; ")
            self._refused[kind] = BagError(
                self._path, self._stream.name, "images that can be decoded", f"'{got}'", fix
            )

    def _sizes(self) -> set[tuple[int, int] | None]:
        return {kind[0] for kind in self._kinds if kind not in self._refused}

    def words(self) -> str:
        """Such as "640x480 rgb8"."""
        return ", ".join(_words(*kind) for kind, _ in self._kinds.most_common())

    def problems(self) -> list[BagError]:
        """No image can be decoded, or the size changes."""
        if len(self._refused) == len(self._kinds):
            return list(self._refused.values())
        if len(self._sizes()) == 1:
            return []
        after_s = (self._changed_ns - self._begin_ns) / 1e9
        got = f"{self.words()}, the first change after {after_s:.1f} s"
        fix = "cut the bag where the size changes, and keep the driver at one size"
        return [BagError(self._path, self._stream.name, "images of one size", got, fix)]

    def notices(self) -> list[str]:
        """Some images cannot be decoded."""
        bad = sum(self._kinds[kind] for kind in self._refused)
        if not bad or len(self._refused) == len(self._kinds):
            return []
        first = next(iter(self._refused.values()))
        return [f"{bad} of {self._kinds.total()} images cannot be decoded: {first.got}"]


def _words(size: tuple[int, int] | None, encoding: str) -> str:
    return f"{size[0]}x{size[1]} {encoding}" if size else f"no image ({encoding})"


class Joints:
    """Joint names. Messages without any are passed over: an empty trajectory stops an arm.

    Args:
        path: The bag, for errors.
        stream: Joint states or commands.
        joints: The joints that every message should have.
        names_of: The joint names of a message.
    """

    def __init__(
        self, path: Path, stream: Stream, joints: Sequence[str], names_of: Callable[[Any], Collection[str]]
    ) -> None:
        self._path = path
        self._stream = stream
        self._joints = joints
        self._names_of = names_of
        self._seen: Counter[str] = Counter()
        self._count = 0

    def add(self, logged: Logged) -> None:
        """Takes the next message."""
        names = self._names_of(logged.message)
        self._count += len(names) > 0
        self._seen.update(set(names))

    def words(self) -> str:
        """Such as "8 of 8 joints, 1 other"."""
        found = sum(self._seen[joint] > 0 for joint in self._joints)
        others = len(self._seen.keys() - set(self._joints))
        return f"{found} of {len(self._joints)} joints" + (f", {others} other" if others else "")

    def problems(self) -> list[BagError]:
        """Joints that no message has, or not every one."""
        missing = [joint for joint in self._joints if not self._seen[joint]]
        if missing:
            expected, got = f"joints {', '.join(self._joints)}", f"no {', '.join(missing)}"
            fix = f"{nearest(missing[0], self._seen)} change the robot file or its --parameter"
            return [BagError(self._path, self._stream.name, expected, got, fix)]
        partly = [
            f"{joint} in {self._seen[joint]}" for joint in self._joints if self._seen[joint] < self._count
        ]
        if partly:
            expected, got = f"all joints in each of {self._count} messages", ", ".join(partly)
            fix = "record what joint_state_broadcaster or joint_state_publisher merges"
            return [BagError(self._path, self._stream.name, expected, got, fix)]
        return []

    def notices(self) -> list[str]:
        """None."""
        return []
