# SPDX-License-Identifier: Apache-2.0
"""The files that recordings are made of: MCAP, the SQLite of rosbag2, and bags of ROS 1.

A file opens whatever its channels hold: an encoding that nobody here reads, or a type without a definition,
matters only to those who ask for such a channel.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mcap.reader import NonSeekingReader, SeekingReader
from mcap.records import Channel as McapChannel
from mcap.records import Message as McapMessage
from mcap.records import Schema
from mcap.stream_reader import StreamReader
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.typesys.msg import normalize_msgtype

CDR, ROS1 = "cdr", "ros1"
"""Encodings of messages that are read: those of ROS 2 and of ROS 1."""
EARLIEST_NS, LATEST_NS = 0, 2**63 - 1
"""Log times that a file can hold [ns]."""

_MAGIC = b"\x89MCAP0\r\n"
_DEFINITIONS = ("ros2msg", "ros1msg")
"""Encodings of definitions that are texts in the format of .msg files."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A topic of one publisher as a file announces it."""

    topic: str
    """Full name."""
    type: str
    """Such as ``sensor_msgs/msg/Image``; that of a foreign encoding as the file has it."""
    encoding: str
    """How messages are serialised: `CDR`, `ROS1`, or another that is not read."""
    definition: str
    """Text of the type in the format of .msg files; empty where the file has none."""
    count: int
    """Messages."""

    @property
    def readable(self) -> bool:
        """Whether its messages can be decoded."""
        return self.encoding in (CDR, ROS1)


Raw = tuple[Channel, int, bytes]
"""Channel, log time [ns], serialised message."""


class Storage(Protocol):
    """An open file of a recording."""

    path: Path
    """The file."""
    channels: tuple[Channel, ...]
    """All of them."""
    start_ns: int
    """Log time of the first message [ns]; `LATEST_NS` where there is none."""
    end_ns: int
    """Log time of the last message [ns]; `EARLIEST_NS` where there is none."""
    notes: tuple[str, ...]
    """What is unusual about the file, in words."""

    def messages(self, topics: Collection[str], start_ns: int, stop_ns: int) -> Iterator[Raw]:
        """The messages of some topics, logged from `start_ns` on and before `stop_ns`, in log order."""

    def close(self) -> None:
        """Closes the file."""


class McapFile:
    """An MCAP file of any profile, with an index or without; see `Storage`.

    Raises:
        Exception: Whatever the parser makes of a damaged file, here and while reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._reader = SeekingReader(self._file, validate_crcs=True)
        self._file.seek(-len(_MAGIC), 2)
        if self._file.read() != _MAGIC:
            raise ValueError("no end magic: it was cut off, or the recorder was killed")
        summary = self._reader.get_summary()
        counts = summary.statistics.channel_message_counts if summary and summary.statistics else {}
        self._indexed = bool(summary and summary.chunk_indexes and counts.keys() <= summary.channels.keys())
        if summary and summary.statistics and self._indexed and counts:
            self.start_ns = summary.statistics.message_start_time
            self.end_ns = summary.statistics.message_end_time
            channels, schemas = summary.channels, summary.schemas
        else:
            channels, schemas, counts = self._scan()
        self._by_id = {
            key: _of_mcap(channel, schemas.get(channel.schema_id), counts.get(key, 0))
            for key, channel in channels.items()
        }
        self.channels = tuple(self._by_id.values())
        without = f"{self.path.name} has no index: it is read from front to back"
        self.notes: tuple[str, ...] = (without,) if any(counts.values()) and not self._indexed else ()

    def _scan(self) -> tuple[dict[int, McapChannel], dict[int, Schema], Counter[int]]:
        """Channels, schemas, and messages by channel, from reading everything once."""
        channels: dict[int, McapChannel] = {}
        schemas: dict[int, Schema] = {}
        counts: Counter[int] = Counter()
        self.start_ns, self.end_ns = LATEST_NS, EARLIEST_NS
        self._file.seek(0)
        for record in StreamReader(self._file, validate_crcs=True).records:
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, McapChannel):
                channels[record.id] = record
            elif isinstance(record, McapMessage):
                counts[record.channel_id] += 1
                self.start_ns = min(self.start_ns, record.log_time)
                self.end_ns = max(self.end_ns, record.log_time)
        return channels, schemas, counts

    def messages(self, topics: Collection[str], start_ns: int, stop_ns: int) -> Iterator[Raw]:
        """See `Storage`; without an index, messages must lie in the order of their log times."""
        if self._indexed:
            found = self._reader.iter_messages(topics, starting_at=start_ns, ending_before=stop_ns)
        else:
            self._file.seek(0)
            reader = NonSeekingReader(self._file, validate_crcs=True)
            found = reader.iter_messages(
                topics, log_time_order=False, starting_at=start_ns, ending_before=stop_ns
            )
        last_ns = EARLIEST_NS
        for _, channel, message in found:
            if message.log_time < last_ns:
                raise ValueError("messages in another order than their log times, and no index")
            last_ns = message.log_time
            yield self._by_id[channel.id], message.log_time, message.data

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _of_mcap(channel: McapChannel, schema: Schema | None, count: int) -> Channel:
    encoding = channel.message_encoding
    known = schema is not None and schema.encoding in _DEFINITIONS
    name = schema.name if schema else ""
    return Channel(
        topic=channel.topic,
        type=normalize_msgtype(name) if name and encoding in (CDR, ROS1) else name or "no type",
        encoding=encoding,
        definition=schema.data.decode(errors="replace") if schema and known else "",
        count=count,
    )


class SqliteFile:
    """A database of rosbag2, of any version; see `Storage`.

    Raises:
        sqlite3.Error: It is none, or damaged; here and while reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        address = f"{path.resolve().as_uri()}?immutable=1"  # a database that is copied or burned has no locks
        self._database = sqlite3.connect(address, uri=True, check_same_thread=False)
        self._database.text_factory = lambda data: data.decode(errors="replace")
        try:
            self._by_id = dict(self._channels())
            limits = self._database.execute("SELECT MIN(timestamp), MAX(timestamp) FROM messages").fetchone()
        except BaseException:
            self.close()
            raise
        self.channels = tuple(self._by_id.values())
        self.start_ns: int = LATEST_NS if limits[0] is None else limits[0]
        self.end_ns: int = EARLIEST_NS if limits[1] is None else limits[1]
        self.notes = tuple(self._unread())

    def _channels(self) -> Iterator[tuple[int, Channel]]:
        execute = self._database.execute
        definitions = {}
        if execute("SELECT name FROM sqlite_master WHERE name = 'message_definitions'").fetchone():
            for kind, encoding, text in execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ):
                definitions[kind] = text if encoding in _DEFINITIONS else ""
        counts = dict(execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        for key, name, kind, encoding in execute("SELECT id, name, type, serialization_format FROM topics"):
            yield (
                key,
                Channel(
                    topic=name,
                    type=kind,
                    encoding=encoding,
                    definition=definitions.get(kind, ""),
                    count=counts.get(key, 0),
                ),
            )

    def _unread(self) -> Iterator[str]:
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists() and log.stat().st_size:
            fix = f"`sqlite3 {self.path.name} vacuum` takes it over"
            yield f"{log.name} is not read, the recorder was killed: {fix}"

    def messages(self, topics: Collection[str], start_ns: int, stop_ns: int) -> Iterator[Raw]:
        """See `Storage`."""
        keys = [key for key, channel in self._by_id.items() if channel.topic in topics]
        found = self._database.execute(
            f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({','.join('?' * len(keys))}) "
            "AND timestamp >= ? AND timestamp < ? ORDER BY timestamp, id",
            (*keys, start_ns, stop_ns),
        )
        for key, log_ns, data in found:
            yield self._by_id[key], log_ns, data

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


class Ros1File:
    """A bag of ROS 1; see `Storage`.

    Raises:
        Exception: Whatever the parser makes of a damaged file, here and while reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        self._reader = Ros1Reader(path)
        self._reader.open()
        self._by_id = {
            each.id: Channel(
                topic=each.topic,
                type=each.msgtype,
                encoding=ROS1,
                definition=each.msgdef.data,
                count=each.msgcount,
            )
            for each in self._reader.connections
        }
        self.channels = tuple(self._by_id.values())
        some = self._reader.message_count > 0
        self.start_ns = self._reader.start_time if some else LATEST_NS
        self.end_ns = self._reader.end_time - 1 if some else EARLIEST_NS

    def messages(self, topics: Collection[str], start_ns: int, stop_ns: int) -> Iterator[Raw]:
        """See `Storage`."""
        wanted = [each for each in self._reader.connections if each.topic in topics]
        for connection, log_ns, data in self._reader.messages(wanted, start_ns, stop_ns):
            yield self._by_id[connection.id], log_ns, data

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()
