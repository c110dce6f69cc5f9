# SPDX-License-Identifier: Apache-2.0
"""Recordings of ROS 2 and ROS 1, read as one stream in log order.

A recording is a single ``.mcap``, ``.db3`` or ``.bag`` file, or a folder of the first two with the
``metadata.yaml`` of rosbag2. Where that file was lost, the files of a folder are one recording if they follow
one another, as those of a recording that was split; else each is a recording: see `recordings`. Compression
is that of the storage or of rosbag2, by message or by file.

Only messages of the topics asked for are decoded: by the definitions in the recording, or, where it has none,
by those of the ROS distribution that recorded it.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Literal, TypeVar

import yaml
import zstandard
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.storage import (
    CDR,
    EARLIEST_NS,
    LATEST_NS,
    ROS1,
    Channel,
    McapFile,
    Raw,
    Ros1File,
    SqliteFile,
    Storage,
)

APART_NS = 1_000_000_000
"""Longest time from the end of a file to the begin of the next one of the same recording [ns]."""

TURN_NS = 100_000_000
"""Longest time between two messages of a file that goes on beside another [ns]."""

METADATA = "metadata.yaml"
"""What rosbag2 calls its description of a folder."""

STORAGES: dict[str, Callable[[Path], Storage]] = {".mcap": McapFile, ".db3": SqliteFile, ".bag": Ros1File}
"""Files that are read, by suffix."""

REPAIRS = {
    ".mcap": "save what is readable with `mcap recover {file} -o recovered.mcap`",
    ".db3": "save what is readable with `sqlite3 {file} .recover | sqlite3 recovered.db3`",
    ".bag": "write its index again with `rosbag reindex {file}`",
}
"""What to do about a damaged file, by suffix."""

_ZSTD, _ZSTD_MAGIC = ".zstd", b"\x28\xb5\x2f\xfd"
"""Suffix of files that rosbag2 has compressed, and how they begin."""
_KINDS = ".mcap, .db3 or .bag"
_Order = Literal["little", "big"]
_ORDERS: tuple[_Order, ...] = ("little", "big")

_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic as the bag announces it."""

    name: str
    """Full name."""
    type: str
    """Such as ``sensor_msgs/msg/Image``; several, joined by " and ", where the bag has several. The encoding
    stands behind it where that is one that is not read."""
    count: int
    """Messages."""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A message of a bag."""

    topic: str
    """Full name of the topic."""
    log_ns: int
    """When it was recorded [ns]."""
    message: Any
    """Shaped as the ROS message; arrays are numpy arrays."""


class Bag:
    """An open bag; a context manager. One stream of messages is read at a time.

    Args:
        path: A recording, see the module.

    Raises:
        BagError: Nothing can be read; later, while reading: a part is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            metadata = _Metadata.of(path)
            files = metadata.files if metadata else _files(path)
            self._distribution = metadata.distribution if metadata else ""
            opened = [self._open(file) for file in files]
            self._storages = sorted(opened, key=lambda storage: storage.start_ns)
            channels = [channel for storage in self._storages for channel in storage.channels]
            self.topics = _topics(channels, metadata.topics if metadata else {})
            """By full name."""
            if not any(channel.count for channel in channels):
                fix = "look whether the recorder could hear the publishers (domain, quality of service)"
                raise BagError(path, "messages", "some", "none", fix)
        except BaseException:
            self.close()
            raise
        self.start_ns = min(storage.start_ns for storage in self._storages)
        """Log time of the first message of any topic [ns]."""
        self.end_ns = max(storage.end_ns for storage in self._storages)
        """Log time of the last message of any topic [ns]."""
        lost = path.is_dir() and metadata is None
        self.notes = (
            *([f"{METADATA} is missing: {len(files)} files are read as one recording"] if lost else []),
            *(note for storage in self._storages for note in storage.notes),
            *_unread(channels),
        )
        """What is unusual about the files, in words."""

    def close(self) -> None:
        """Closes all files."""
        self._stack.close()

    def __enter__(self) -> Bag:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes all files."""
        self.close()

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Logged]:
        """The messages of some topics in the order of their log times; of equal ones, as they were written.

        Memory does not grow with the length of the bag, and what was logged earlier or later is not read.

        Args:
            topics: Full names; those that the bag lacks have no messages.
            start_ns: Log time of the first message wanted [ns]; None: from the begin.
            stop_ns: Log time from which on none is wanted [ns]; None: to the end.

        Raises:
            BagError: A part of the bag is damaged, the text says up to when it was read; or a message of
                these topics is not what its type says.
        """
        return self._read(topics, start_ns, stop_ns, self._decoded)

    def log_times(self, topics: Collection[str]) -> Iterator[tuple[str, int]]:
        """Topic and log time [ns] of the messages of some topics, in order; none is decoded, of any encoding.

        Raises:
            BagError: As `messages`.
        """
        for channel, log_ns, _ in self._merged(topics, EARLIEST_NS, LATEST_NS):
            yield channel.topic, log_ns

    def stamps(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Log time and stamp [ns] of messages that begin with a header; nothing else of them is decoded.

        Args:
            topics: As for `messages`.
            start_ns: Likewise.
            stop_ns: Likewise.

        Raises:
            BagError: As `messages`.
        """
        return self._read(
            topics, start_ns, stop_ns, lambda channel, log_ns, data: (log_ns, _stamp_ns(channel, data))
        )

    def _read(
        self,
        topics: Collection[str],
        start_ns: int | None,
        stop_ns: int | None,
        make: Callable[[Channel, int, bytes], _Made],
    ) -> Iterator[_Made]:
        begin_ns = EARLIEST_NS if start_ns is None else max(EARLIEST_NS, start_ns)
        end_ns = LATEST_NS if stop_ns is None else stop_ns
        for channel, log_ns, data in self._merged(topics, begin_ns, max(begin_ns, end_ns)):
            if not channel.readable:
                continue
            try:
                if channel.encoding == CDR and data[:4] == _ZSTD_MAGIC:  # CDR itself begins with 0
                    data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
                made = make(channel, log_ns, data)
            except Exception as error:  # of rosbags, which passes on what its parsers make of wrong data
                expected = f"messages of type {channel.type} as the recording defines it"
                got = f"{_words(error)} after {(log_ns - self.start_ns) / 1e9:.1f} s"
                fix = "record it with the package of the type in the recorder's workspace"
                raise BagError(self.path, channel.topic, expected, got, fix) from error
            yield made

    def _merged(self, topics: Collection[str], start_ns: int, stop_ns: int) -> Iterator[Raw]:
        """In log order over all files; one is read from when its first message is due."""
        asked = [s for s in self._storages if any(channel.topic in topics for channel in s.channels)]
        waiting = deque(enumerate(asked))
        under_way: list[tuple[int, int, Raw, Iterator[Raw]]] = []

        def push(number: int, rest: Iterator[Raw]) -> None:
            raw = next(rest, None)
            if raw is not None:
                heapq.heappush(under_way, (raw[1], number, raw, rest))

        files = _Turns(self.path, asked)
        while waiting or under_way:
            while waiting and (not under_way or waiting[0][1].start_ns <= under_way[0][0]):
                number, storage = waiting.popleft()
                push(number, self._guarded(storage, storage.messages(topics, start_ns, stop_ns)))
            if under_way:
                log_ns, number, raw, rest = heapq.heappop(under_way)
                files.take(number, log_ns)
                yield raw
                push(number, rest)

    def _guarded(self, storage: Storage, messages: Iterator[Raw]) -> Iterator[Raw]:
        """The messages of a file; what its parser raises names the file, and up to when it was read."""
        last_ns = storage.start_ns
        try:
            for raw in messages:
                last_ns = raw[1]
                yield raw
        except Exception as error:  # of the parsers, and of the compressors below them
            got = f"{_words(error)} after {(last_ns - self.start_ns) / 1e9:.1f} s"
            raise _damaged(storage.path, got) from error

    def _decoded(self, channel: Channel, log_ns: int, data: bytes) -> Logged:
        store = _typestore(channel.type, channel.encoding, channel.definition, self._distribution)
        read = store.deserialize_ros1 if channel.encoding == ROS1 else store.deserialize_cdr
        return Logged(topic=channel.topic, log_ns=log_ns, message=_read_text(read, data, channel.type))

    def _open(self, file: Path) -> Storage:
        try:
            storage = _open(file, self._stack)
        except Exception as error:  # the parsers pass on what damaged files make of them
            raise _damaged(file, _words(error)) from error
        self._stack.callback(storage.close)
        storage.path = file  # a compressed one was opened elsewhere
        return storage


class _Turns:
    """Refuses files that go on side by side: then they are several recordings.

    At the end of a file some messages come late, and one whose clock is wrong may lie anywhere; neither goes
    on for more than `APART_NS`.
    """

    def __init__(self, path: Path, storages: list[Storage]) -> None:
        self._path = path
        self._storages = storages
        self._begun: set[int] = set()
        self._number = self._return_ns = self._together_ns = 0

    def take(self, number: int, log_ns: int) -> None:
        """Takes the file of the next message, and its log time [ns]."""
        if number != self._number and number in self._begun:
            since_ns = log_ns - self._return_ns
            self._together_ns += since_ns if since_ns <= TURN_NS else 0
            self._return_ns = log_ns
            if self._together_ns > APART_NS:
                names = " and ".join(sorted(self._storages[n].path.name for n in (self._number, number)))
                got = f"{names} for more than {APART_NS / 1e9:g} s at the same time"
                fix = "keep one recording per folder and read each by itself"
                raise BagError(self._path, "files", "one after the other", got, fix)
        self._begun.add(number)
        self._number = number


def recordings(path: Path) -> list[Path]:
    """The recordings that a path stands for: itself, or those in a folder, in order.

    A folder is one recording where it has metadata, or where its files follow one another without a pause or
    an overlap of more than `APART_NS`: then it was split while it was recorded.

    Raises:
        BagError: There is none.
    """
    if not path.is_dir() or _is_recording(path):
        return [path]
    found = [each for each in sorted(path.iterdir()) if _kind(each) or _is_recording(each)]
    if not found:
        fix = f"name a folder with {METADATA}, or a file that ends in {_KINDS}"
        raise BagError(path, "folder", f"{METADATA}, {_KINDS} files", "none of them", fix)
    return found


def stem(path: Path) -> str:
    """Name of a recording without the suffix of its kind."""
    return path.name if path.is_dir() else path.name.removesuffix(_ZSTD).removesuffix(_kind(path))


def _is_recording(folder: Path) -> bool:
    """Whether a folder is one recording, see `recordings`."""
    if (folder / METADATA).exists():
        return True
    files = [file for file in folder.iterdir() if _kind(file)] if folder.is_dir() else []
    return len(files) > 1 and _follow_one_another(files)


def _follow_one_another(files: list[Path]) -> bool:
    spans = []
    for file in files:
        try:
            with ExitStack() as stack:
                storage = _open(file, stack)
                stack.callback(storage.close)
                spans.append((storage.start_ns, storage.end_ns))
        except Exception:  # a file that does not open says so when it is read by itself
            return False
    spans.sort()
    return all(abs(begin - end) <= APART_NS for (_, end), (begin, _) in pairwise(spans))


def _kind(file: Path) -> str:
    """Suffix of the storage of a file; empty where it is none."""
    suffix = Path(file.name.removesuffix(_ZSTD)).suffix
    return suffix if suffix in STORAGES and file.is_file() else ""


def _files(path: Path) -> list[Path]:
    """The files of a recording without metadata."""
    fix = f"name a folder with {METADATA}, or a file that ends in {_KINDS}"
    if not path.exists():
        raise BagError(path, "path", "a bag", "nothing there", fix)
    if path.is_file() and not _kind(path):
        raise BagError(path, "file", f"one that ends in {_KINDS}", repr(path.suffix), fix)
    files = sorted(file for file in path.iterdir() if _kind(file)) if path.is_dir() else [path]
    if not files:
        raise BagError(path, "folder", f"{METADATA}, {_KINDS} files", "none of them", fix)
    return files


def _open(file: Path, stack: ExitStack) -> Storage:
    """Opens a file; what it is unpacked to is there as long as the stack."""
    kind = _kind(file)
    if file.name.endswith(_ZSTD):
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        packed, file = file, Path(folder, file.name.removesuffix(_ZSTD))
        with packed.open("rb") as source, file.open("wb") as target:
            zstandard.ZstdDecompressor().copy_stream(source, target)
    return STORAGES[kind](file)


def _damaged(file: Path, got: str) -> BagError:
    kind = _kind(file) or file.suffix
    return BagError(file, "file", f"a whole {kind} file", got, REPAIRS[kind].format(file=file.name))


def _words(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


@dataclass(frozen=True, kw_only=True)
class _Metadata:
    """What is used of a metadata.yaml."""

    files: list[Path]
    distribution: str
    """Of ROS, by which it was recorded; empty where it does not say."""
    topics: dict[str, Topic]
    """By full name."""

    @classmethod
    def of(cls, folder: Path) -> _Metadata | None:
        """Reads that of a folder; None where there is none."""
        path = folder / METADATA
        if not path.exists():
            return None
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
            files = [folder / PurePath(name).name for name in content["relative_file_paths"]]
            topics = {}
            for entry in content["topics_with_message_count"]:
                told = entry["topic_metadata"]
                topics[told["name"]] = Topic(
                    name=told["name"],
                    type=_shown(told["type"], told["serialization_format"]),
                    count=entry["message_count"],
                )
        except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
            got = f"{type(error).__name__}: {error}"
            raise cls._wrong(path, got) from error
        for file in files:
            if not _kind(file):
                raise cls._wrong(path, f"{file.name}, which is missing or no {_KINDS} file")
        return cls(files=files, distribution=str(content.get("ros_distro") or ""), topics=topics)

    @staticmethod
    def _wrong(path: Path, got: str) -> BagError:
        fix = f"write it again with `ros2 bag reindex {path.parent.name}`"
        return BagError(path, "metadata", "files and topics of a recording", got, fix)


def _topics(channels: list[Channel], announced: dict[str, Topic]) -> dict[str, Topic]:
    """By name: the types of what can be read, or else of all; metadata say how many there should be."""
    found = {}
    for name in sorted({channel.topic for channel in channels} | announced.keys()):
        mine = [channel for channel in channels if channel.topic == name]
        mine = [channel for channel in mine if channel.readable] or mine
        count = sum(channel.count for channel in mine)
        types = " and ".join(sorted({_shown(channel.type, channel.encoding) for channel in mine}))
        told = announced.get(name, Topic(name=name, type=types, count=count))
        found[name] = Topic(name=name, type=types or told.type, count=told.count)
    return found


def _shown(kind: str, encoding: str) -> str:
    return kind if encoding in (CDR, ROS1) else f"{kind} ({encoding or 'no encoding'})"


def _unread(channels: list[Channel]) -> Iterator[str]:
    """Says which topics have messages in another encoding beside those that are read."""
    read = {channel.topic for channel in channels if channel.readable}
    for channel in channels:
        if channel.topic in read and not channel.readable and channel.count:
            kind = _shown(channel.type, channel.encoding)
            yield f"{channel.topic} also has {channel.count} messages of type {kind}, which are not read"


def _stamp_ns(channel: Channel, data: bytes) -> int:
    """The stamp of a header at the begin of a serialised message [ns]."""
    begin = 4  # after the encapsulation of CDR, or the number that ROS 1 has in its headers
    order: _Order = "big" if channel.encoding == CDR and data[1] == 0 else "little"
    seconds = int.from_bytes(data[begin : begin + 4], order, signed=channel.encoding == CDR)
    return seconds * 1_000_000_000 + int.from_bytes(data[begin + 4 : begin + 8], order)


def _read_text(read: Callable[[bytes, str], Any], data: bytes, kind: str) -> Any:
    """Deserialises a message; bytes of its texts that are no UTF-8 become question marks.

    rclpy takes such messages as well, so that only who reads that very text is troubled.
    """
    while True:
        try:
            return read(data, kind)
        except SerdeError as error:
            cause = error.__cause__
            if not isinstance(cause, UnicodeDecodeError):
                raise
            text: bytes = cause.object
            sizes = (len(text) + end for end in (0, 1))  # CDR counts the zero behind a text
            before = [size.to_bytes(4, order) for size in sizes for order in _ORDERS]
            place = max(data.find(length + text) for length in before)
            if place < 0:
                raise
            place += 4 + cause.start
            wrong = cause.end - cause.start
            data = data[:place] + b"?" * wrong + data[place + wrong :]


@lru_cache(maxsize=64)
def _typestore(kind: str, encoding: str, definition: str, distribution: str) -> Typestore:
    """Definitions in the bag where they are there as .msg, else those of its distribution or the latest."""
    if definition:
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(definition, kind))
        return store
    if encoding == ROS1:
        return get_typestore(Stores.ROS1_NOETIC)
    with suppress(ValueError):
        return get_typestore(Stores(f"ros2_{distribution}"))
    return get_typestore(Stores.LATEST)
