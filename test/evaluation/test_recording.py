# SPDX-License-Identifier: Apache-2.0
"""Recordings are there once they are complete, and say what players need to know."""

from __future__ import annotations

from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import ConnectionExtRosbag2, QosDurability

from dreamzero_ros.evaluation import messages
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.recording import Recording

pytestmark = pytest.mark.cpu
NS = 1_000_000_000


def write(path: Path, zstd: bool = False, count: int = 3) -> None:
    with Recording(path, zstd, latched=("/latched",)) as recording:
        recording.write("/latched", NS, messages.text("x" * 10_000))
        for number in range(count):
            recording.write("/number", NS + number, messages.number(number))


@pytest.mark.parametrize("zstd", [False, True])
def test_what_was_written_is_read(zstd: bool, tmp_path: Path) -> None:
    path = tmp_path / "made.mcap"
    write(path, zstd)
    with Bag(path) as bag:
        assert not bag.notes
        read = [(logged.topic, logged.log_ns, logged.message.data) for logged in bag.messages(bag.topics)]
    assert read == [("/latched", NS, "x" * 10_000), *(("/number", NS + n, float(n)) for n in range(3))]
    assert (path.stat().st_size < 8_000) == zstd


def test_late_subscribers_get_what_is_latched(tmp_path: Path) -> None:
    write(tmp_path / "made.mcap")
    found = {}
    with AnyReader([tmp_path / "made.mcap"]) as reader:
        for connection in reader.connections:
            assert isinstance(connection.ext, ConnectionExtRosbag2)
            (qos,) = connection.ext.offered_qos_profiles
            found[connection.topic] = qos.durability
    assert found == {"/latched": QosDurability.TRANSIENT_LOCAL, "/number": QosDurability.VOLATILE}


def test_it_is_there_only_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "made.mcap"
    write(path)
    before = path.read_bytes()
    with pytest.raises(AttributeError), Recording(path) as recording:
        recording.write("/number", NS, "no message")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    write(path, count=5)
    assert path.read_bytes() != before and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    killed = Recording(tmp_path / "made.mcap")
    killed.__enter__()
    killed.write("/number", NS, messages.number(7.0))
    write(tmp_path / "made.mcap")
    assert [entry.name for entry in tmp_path.iterdir()] == ["made.mcap"]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file" / "made.mcap")
