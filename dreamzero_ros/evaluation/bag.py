# SPDX-License-Identifier: Apache-2.0
"""rosbag2 recordings, read as one stream in log order.

A bag is a folder with ``metadata.yaml``, a single ``.mcap`` or ``.db3`` file, or a folder of such files whose
``metadata.yaml`` was lost. Compression is that of the storage or of rosbag2, by message or by file.

Only messages of the topics asked for are decoded: by the definitions in the bag, or, where it has none, by
those of the ROS distribution that recorded it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from dreamzero_ros.evaluation.errors import BagError

OVERLAP_NS = 1_000_000_000
"""How far a file of a bag may reach into the time of the next one [ns]; that much is brought in order."""

REPAIRS = {
    ".mcap": "save what is readable with `mcap recover {file} -o recovered.mcap`",
    ".db3": "save what is readable with `sqlite3 {file} .recover | sqlite3 recovered.db3`",
}
"""What to do about a damaged file, by suffix."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_Raw = tuple[Connection, int, bytes]
_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic as the bag announces it."""

    name: str
    """Full name."""
    type: str
    """Such as ``sensor_msgs/msg/Image``; several, joined by " and ", where the bag has several."""
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
        path: A folder, or a ``.mcap`` or ``.db3`` file.

    Raises:
        BagError: Nothing can be read, or files overlap; later, while reading: a part is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            self._readers = [self._open(file) for file in _sources(path)]
            self._readers.sort(key=lambda reader: reader.start_time)
            self._storages = [storage for reader in self._readers for storage in _storages(reader)]
            self._lag_ns = _lag_ns(path, self._storages)
            self.topics = _topics(self._readers)
            """By full name."""
            if not any(topic.count for topic in self.topics.values()):
                fix = "look whether the recorder could hear the publishers (domain, quality of service)"
                raise BagError(path, "messages", "some", "none", fix)
        except BaseException:
            self.close()
            raise
        self.start_ns = min(reader.start_time for reader in self._readers)
        """Log time of the first message [ns]."""
        self.end_ns = max(reader.end_time for reader in self._readers) - 1
        """Log time of the last message [ns]."""
        self.notes = tuple(_notes(path, self._storages))
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
            BagError: A part of the bag is damaged; the text says up to when it was read.
        """
        return self._read(topics, start_ns, stop_ns, self._decoded)

    def log_times(self, topics: Collection[str]) -> Iterator[tuple[str, int]]:
        """Topic and log time [ns] of the messages of some topics, in order; none is decoded.

        Raises:
            BagError: As `messages`.
        """
        return self._read(topics, None, None, lambda connection, log_ns, _: (connection.topic, log_ns))

    def _read(
        self,
        topics: Collection[str],
        start_ns: int | None,
        stop_ns: int | None,
        make: Callable[[Connection, int, bytes], _Made],
    ) -> Iterator[_Made]:
        raw = chain.from_iterable(
            reader.messages(wanted, start_ns, stop_ns)
            for reader in self._readers
            if (wanted := [connection for connection in reader.connections if connection.topic in topics])
        )
        last_ns = self.start_ns
        messages = _in_order(raw, self._lag_ns)
        while True:
            try:
                connection, log_ns, data = next(messages)
                made = make(connection, log_ns, data)
            except StopIteration:
                return
            except BagError:
                raise
            except Exception as error:  # of rosbags, and of the storages and compressors below it
                read_s = (last_ns - self.start_ns) / 1e9
                raise self._damage(f"{_words(error)} after {read_s:.1f} s") from error
            last_ns = log_ns
            yield made

    def _decoded(self, connection: Connection, log_ns: int, data: bytes) -> Logged:
        if data[:4] == _ZSTD_MAGIC:
            raise self._compressed(connection.topic)
        return Logged(topic=connection.topic, log_ns=log_ns, message=_decode(connection, data))

    def _open(self, file: Path) -> Reader:
        try:
            reader = Reader(file)
            reader.open()
        except Exception as error:  # rosbags passes on what damaged files make of its parsers
            raise self._damage(_words(error), file) from error
        self._stack.callback(reader.close)
        return reader

    def _compressed(self, topic: str) -> BagError:
        fix = "name the folder with the metadata.yaml that says how messages were compressed"
        return BagError(self.path, topic, "serialised messages", "compressed ones (zstd)", fix)

    def _damage(self, got: str, file: Path | None = None) -> BagError:
        """The error of what cannot be read; in a folder it names the first file that cannot be opened."""
        for part in _files(file or self.path):
            words = _why_not_open(part)
            if words:
                fix = REPAIRS[part.suffix].format(file=part.name)
                return BagError(part, "file", f"a whole {part.suffix} file", words, fix)
        where = file or self.path
        fix = REPAIRS.get(where.suffix, "write metadata.yaml again with `ros2 bag reindex`")
        return BagError(where, "recording", "readable data", got, fix.format(file=where.name))


def _sources(path: Path) -> list[Path]:
    """What is opened with a reader each: the path itself, or the files of a folder without metadata."""
    fix = "name a folder with metadata.yaml, an .mcap or a .db3 file"
    if not path.exists():
        raise BagError(path, "path", "a bag", "nothing there", fix)
    if path.is_file() and path.suffix not in REPAIRS:
        if path.suffix == ".bag":
            fix = "convert it with `rosbags-convert --src in.bag --dst out`"
        raise BagError(path, "file", "one that ends in .mcap or .db3", repr(path.suffix), fix)
    if path.is_file() or (path / "metadata.yaml").exists():
        return [path]
    files = _files(path)
    if not files:
        raise BagError(path, "folder", "metadata.yaml, .mcap or .db3 files", "none of them", fix)
    return files


def _files(path: Path) -> list[Path]:
    """The storage files of a folder by name, or the one storage file."""
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in candidates if file.suffix in REPAIRS and file.is_file()]


def _why_not_open(file: Path) -> str:
    """Why a single file does not open, in words; empty where it does."""
    try:
        with Reader(file):
            return ""
    except Exception as error:  # as in Bag._open
        return _words(error)


def _words(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _storages(reader: Reader) -> list[McapReader | Sqlite3Reader]:
    """The files behind a reader, each with its span."""
    parts = reader.storage.storages if isinstance(reader.storage, DirectoryReader) else [reader.storage]
    return [part for part in parts if isinstance(part, (McapReader, Sqlite3Reader))]


def _name(storage: McapReader | Sqlite3Reader) -> str:
    return Path(str(storage.path)).name


def _lag_ns(path: Path, storages: list[McapReader | Sqlite3Reader]) -> int:
    """How far back in time a file begins, at most, before the end of what was read before it [ns]."""
    spans = [storage for storage in storages if storage.metadata.message_count]
    ends_ns = accumulate((storage.metadata.end_time for storage in spans), max)
    lag_ns = 0
    for end_ns, earlier, later in zip(ends_ns, spans, spans[1:], strict=False):
        overlap_ns = end_ns - later.metadata.start_time
        if overlap_ns > OVERLAP_NS:
            got = f"{_name(later)} begin {overlap_ns / 1e9:.1f} s before the end of {_name(earlier)}"
            fix = "keep one recording per folder and read each by itself"
            raise BagError(path, "files", "one after the other", got, fix)
        lag_ns = max(lag_ns, overlap_ns)
    return lag_ns


def _topics(readers: list[Reader]) -> dict[str, Topic]:
    connections = [connection for reader in readers for connection in reader.connections]
    names = sorted({connection.topic for connection in connections})
    return {name: _topic(name, [c for c in connections if c.topic == name]) for name in names}


def _topic(name: str, connections: list[Connection]) -> Topic:
    types = sorted({connection.msgtype for connection in connections})
    return Topic(name=name, type=" and ".join(types), count=sum(c.msgcount for c in connections))


def _notes(path: Path, storages: list[McapReader | Sqlite3Reader]) -> Iterator[str]:
    if path.is_dir() and not (path / "metadata.yaml").exists():
        yield f"metadata.yaml is missing: the {len(storages)} files of the folder are read by their times"
    for storage in storages:
        name = _name(storage)
        if isinstance(storage, McapReader):
            if storage.metadata.message_count and not storage.chunks:
                yield f"{name} has no index: it is read from front to back"
        elif (log := Path(f"{storage.path}-wal")).exists() and log.stat().st_size:
            yield f"{log.name} is not read, the recorder was killed: `sqlite3 {name} vacuum` takes it over"


def _in_order(messages: Iterable[_Raw], lag_ns: int) -> Iterator[_Raw]:
    """Sorts by log time what lies at most `lag_ns` behind the newest; equal times stay as they come."""
    waiting: list[tuple[int, int, _Raw]] = []
    for number, raw in enumerate(messages):
        heapq.heappush(waiting, (raw[1], number, raw))
        while waiting[0][0] <= raw[1] - lag_ns:
            yield heapq.heappop(waiting)[2]
            if not waiting:
                break
    while waiting:
        yield heapq.heappop(waiting)[2]


def _decode(connection: Connection, data: bytes) -> Any:
    owner = connection.owner
    distribution = owner.metadata.ros_distro if isinstance(owner, DirectoryReader) else None
    store = _typestore(connection.msgtype, connection.msgdef, distribution)
    return store.deserialize_cdr(data, connection.msgtype)


@lru_cache(maxsize=64)
def _typestore(kind: str, definition: MessageDefinition, distribution: str | None) -> Typestore:
    """Definitions in the bag where they are there as .msg, else those of its distribution or the latest."""
    if definition.format is MessageDefinitionFormat.MSG:
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(definition.data, kind))
        return store
    name = f"ros2_{distribution}"
    known = {store.value for store in Stores}
    return get_typestore(Stores(name) if name in known else Stores.LATEST)
