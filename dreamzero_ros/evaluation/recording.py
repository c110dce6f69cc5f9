# SPDX-License-Identifier: Apache-2.0
"""Writing recordings: one .mcap file each, as rosbag2 and viewers read it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from dreamzero_ros.evaluation.messages import STORE

_UNLIMITED = QosTime(0x7FFFFFFF, 0xFFFFFFFF)


class Recording:
    """Writes messages to a file that is there once it is complete; a context manager.

    What was there under its name is replaced then, and only then. Memory does not grow with the messages.

    Args:
        path: Of the file; ends in .mcap.
        zstd: Whether its contents are compressed.
        latched: Topics whose last message late subscribers get, when the recording is played.

    Raises:
        OSError: It cannot be written, for example because the disk is full; here and later.
    """

    def __init__(self, path: Path, zstd: bool = False, latched: tuple[str, ...] = ()) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.stem}.part")
        self._latched = latched
        self._connections: dict[str, Connection] = {}
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._writer = Writer(self._unfinished / path.stem, version=9, storage_plugin=StoragePlugin.MCAP)
        if zstd:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)

    def write(self, topic: str, log_ns: int, message: Any) -> None:
        """Takes the next message, with the time at which it is logged [ns]."""
        kind = message.__msgtype__
        connection = self._connections.get(topic)
        if connection is None:
            profiles = (_qos(topic in self._latched),)
            connection = self._writer.add_connection(
                topic, kind, typestore=STORE, offered_qos_profiles=profiles
            )
            self._connections[topic] = connection
        self._writer.write(connection, log_ns, STORE.serialize_cdr(message, kind))

    def __enter__(self) -> Recording:
        """Begins."""
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Puts the file in its place; after an error, nothing is left."""
        try:
            self._writer.__exit__(kind, error, trace)
            if error is None:
                (self._unfinished / self._path.stem / self._path.name).replace(self._path)
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)


def _qos(latched: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_UNLIMITED,
        lifespan=_UNLIMITED,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_UNLIMITED,
        avoid_ros_namespace_conventions=False,
    )
