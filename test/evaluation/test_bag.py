# SPDX-License-Identifier: Apache-2.0
"""Bags of every kind are read in log order and completely, or refused with what to do."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import NS, START_NS, STORE, Message, compressed, image, join, joint_state, write
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dreamzero_ros.evaluation.bag import Bag, recordings
from dreamzero_ros.evaluation.errors import BagError

pytestmark = pytest.mark.cpu

MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
KINDS = [
    *((MCAP, mode) for mode in CompressionMode),
    *((SQLITE, mode) for mode in CompressionMode if mode is not CompressionMode.STORAGE),
]
TOPICS = ("/a", "/b", "/c")


def joints(*logs_s: float, topic: str = "/a") -> list[Message]:
    """A joint state for each log time."""
    return [(topic, at, joint_state(at, ["x"])) for at in (START_NS + round(s * NS) for s in logs_s)]


def read(path: Path, topics: tuple[str, ...] = TOPICS) -> list[tuple[str, float]]:
    """Topic and log time [s] of all messages."""
    with Bag(path) as bag:
        return [(logged.topic, (logged.log_ns - START_NS) / NS) for logged in bag.messages(topics)]


def only_file(folder: Path) -> Path:
    (file,) = (file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))
    return file


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    written=st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(0, 50)), min_size=1, max_size=30),
    wanted=st.sets(st.sampled_from(TOPICS), min_size=1),
)
def test_what_was_written_is_read_in_log_order(
    kind: tuple[StoragePlugin, CompressionMode], written: list[tuple[str, int]], wanted: set[str]
) -> None:
    messages = [
        (topic, START_NS + tenths * NS // 10, joint_state(number + 1, [f"joint{number}"]))
        for number, (topic, tenths) in enumerate(written)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "bag", messages, *kind)
        with Bag(path) as bag:
            found = [(m.topic, m.log_ns, m.message.name[0]) for m in bag.messages(wanted)]
            counts = {topic.name: topic.count for topic in bag.topics.values()}
    expected = [(topic, log_ns, message.name[0]) for topic, log_ns, message in messages if topic in wanted]
    assert found == sorted(expected, key=lambda row: row[1])  # stable: equal times stay as written
    assert counts == {topic: sum(name == topic for name, *_ in messages) for topic, *_ in messages}


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("metadata", [True, False])
def test_a_split_bag_is_one_stream(tmp_path: Path, storage: StoragePlugin, metadata: bool) -> None:
    parts = [
        write(tmp_path / "part_0", joints(0, 1, 2), storage),
        write(tmp_path / "part_1", joints(1.5, 3) + joints(2, 2.5, topic="/b"), storage),
        write(tmp_path / "part_2", joints(2.75, 4), storage),
    ]
    folder = join(tmp_path / "bag", parts, metadata)
    assert [at for _, at in read(folder)] == [0, 1, 1.5, 2, 2, 2.5, 2.75, 3, 4]
    assert [topic for topic, at in read(folder) if at == 2] == ["/a", "/b"]
    with Bag(folder) as bag:
        assert bag.topics["/a"].count == 7
        assert any("metadata.yaml is missing" in note for note in bag.notes) is not metadata


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_a_single_file_is_a_bag(tmp_path: Path, storage: StoragePlugin) -> None:
    file = only_file(write(tmp_path / "bag", joints(0, 1), storage))
    assert read(file) == [("/a", 0), ("/a", 1)]


def test_images_come_with_their_pixels(tmp_path: Path) -> None:
    raw, jpeg = image(1), compressed(2)
    path = write(tmp_path / "bag", [("/a", START_NS, raw), ("/b", START_NS + 1, jpeg)])
    with Bag(path) as bag:
        first, second = (logged.message for logged in bag.messages(TOPICS))
    assert np.array_equal(first.data, raw.data) and (first.height, first.width) == (raw.height, raw.width)
    assert np.array_equal(second.data, jpeg.data) and second.format == "jpeg"


@pytest.mark.parametrize("store", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY, Stores.ROS2_KILTED])
def test_definitions_are_those_of_the_distribution_where_the_bag_has_none(
    tmp_path: Path, store: Stores
) -> None:
    folder = write(tmp_path / "bag", joints(0, 1), SQLITE)
    with sqlite3.connect(only_file(folder)) as database:  # as Humble writes: no definitions
        database.execute("UPDATE schema SET schema_version = 3")
        database.execute("DROP TABLE message_definitions")
    metadata = folder / "metadata.yaml"
    name = store.value.removeprefix("ros2_")
    metadata.write_text(metadata.read_text().replace("ros_distro: rosbags", f"ros_distro: {name}"))
    assert name in metadata.read_text()
    assert len(read(folder)) == 2
    assert get_typestore(store).fielddefs["sensor_msgs/msg/JointState"]


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_unknown_types_among_the_known_are_never_decoded(tmp_path: Path, storage: StoragePlugin) -> None:
    folder = tmp_path / "bag"
    with Writer(folder, version=9, storage_plugin=storage) as writer:
        kind = "sensor_msgs/msg/JointState"
        known = writer.add_connection("/a", kind, typestore=STORE)
        other = writer.add_connection("/x", "my_msgs/msg/Thing", msgdef="no such thing", rihs01="RIHS01_0")
        writer.write(other, START_NS, b"garbage")
        writer.write(known, START_NS + 1, STORE.serialize_cdr(joint_state(1, ["x"]), kind))
    assert len(read(folder)) == 1
    with Bag(folder) as bag:
        assert bag.topics["/x"].type == "my_msgs/msg/Thing"


def test_an_mcap_without_index_is_read_and_said_to_be(tmp_path: Path) -> None:
    file = only_file(write(tmp_path / "bag", joints(0, 1, 2)))
    data = bytearray(file.read_bytes())
    data[-28:-12] = bytes(16)  # the footer points to no summary
    file.write_bytes(data)
    assert len(read(file)) == 3
    with Bag(file) as bag:
        assert "no index" in bag.notes[0]


def test_what_a_killed_recorder_left_beside_the_file_is_said(tmp_path: Path) -> None:
    file = only_file(write(tmp_path / "bag", joints(0), SQLITE))
    Path(f"{file}-wal").write_bytes(b"x")
    with Bag(file) as bag:
        assert "-wal is not read" in bag.notes[0]


def truncated(tmp_path: Path) -> Path:
    file = only_file(write(tmp_path / "bag", joints(0, 1, 2)))
    file.write_bytes(file.read_bytes()[:-40])
    return file


def truncated_in_a_folder(tmp_path: Path) -> Path:
    return truncated(tmp_path).parent


def nearly_empty(tmp_path: Path) -> Path:
    file = tmp_path / "bag.mcap"
    file.write_bytes(b"\x89MCAP0\r\n")
    return file


def cut_database(tmp_path: Path) -> Path:
    file = only_file(write(tmp_path / "bag", joints(*range(200)), SQLITE))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def flipped_byte(tmp_path: Path) -> Path:
    file = only_file(write(tmp_path / "bag", joints(0, 1, 2), compression=CompressionMode.STORAGE))
    data = bytearray(file.read_bytes())
    chunk = data.index(b"\x28\xb5\x2f\xfd")
    data[chunk + 20] ^= 0xFF
    file.write_bytes(data)
    return file


def missing_part(tmp_path: Path) -> Path:
    folder = write(tmp_path / "bag", joints(0))
    only_file(folder).unlink()
    return folder


def empty(tmp_path: Path) -> Path:
    return write(tmp_path / "bag", [], announced=[("/a", "sensor_msgs/msg/JointState")])


def foreign_file(tmp_path: Path) -> Path:
    (tmp_path / "video.mp4").touch()
    return tmp_path / "video.mp4"


def broken_metadata(tmp_path: Path) -> Path:
    folder = write(tmp_path / "bag", joints(0))
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    return folder


@pytest.mark.parametrize(
    ("make", "got", "fix"),
    [
        (truncated, "end magic", "mcap recover bag.mcap"),
        (truncated_in_a_folder, "end magic", "mcap recover bag.mcap"),
        (nearly_empty, "", "mcap recover bag.mcap"),
        (cut_database, "", ".recover"),
        (flipped_byte, "after 0.0 s", "mcap recover bag.mcap"),
        (missing_part, "missing", "ros2 bag reindex"),
        (empty, "none", "recorder"),
        (foreign_file, "'.mp4'", ".mcap, .db3 or .bag"),
        (broken_metadata, "ParserError", "ros2 bag reindex bag"),
        (lambda tmp_path: tmp_path / "nowhere", "nothing there", "name a folder"),
        (lambda tmp_path: tmp_path, "none of them", "name a folder"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(
    tmp_path: Path, make: Callable[[Path], Path], got: str, fix: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(BagError) as caught:
        read(path)
    error = caught.value
    assert got in error.got and fix in error.fix
    assert error.file == path or error.file.parent == path
    assert str(error.file) in str(error) and "expected" in str(error)


def test_files_that_overlap_are_one_stream_where_metadata_say_so(tmp_path: Path) -> None:
    parts = [write(tmp_path / "one", joints(0, 5)), write(tmp_path / "two", joints(2, 7))]
    assert [at for _, at in read(join(tmp_path / "bag", parts))] == [0, 2, 5, 7]


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_files_that_follow_one_another_are_one_recording(tmp_path: Path, storage: StoragePlugin) -> None:
    """Whatever they are called; those that are apart, or do not open, are recordings of their own."""
    seconds = {"x_0": (0, 1, 2), "x_1": (2.1, 3), "y": (2.9, 4)}
    parts = {name: write(tmp_path / name, joints(*logs_s), storage) for name, logs_s in seconds.items()}
    split = join(tmp_path / "a_split", list(parts.values()), metadata=False)
    assert recordings(split) == [split]
    late = join(
        tmp_path / "c_late", [parts["x_0"], write(tmp_path / "z", joints(9), storage)], metadata=False
    )
    assert recordings(late) == sorted(late.iterdir())
    one = join(tmp_path / "d_one", [parts["y"]], metadata=False)
    assert recordings(one) == list(one.iterdir())
    broken = join(tmp_path / "e_broken", [parts["x_0"], parts["x_1"]], metadata=False)
    last = broken / only_file(parts["x_1"]).name
    last.write_bytes(last.read_bytes()[:100])
    assert recordings(broken) == sorted(broken.iterdir())
    whole = tmp_path / "all"
    whole.mkdir()
    with pytest.raises(BagError, match="none of them"):
        recordings(whole)
    for folder in (split, parts["x_0"]):
        folder.rename(whole / folder.name)
    assert recordings(whole) == [whole / "a_split", whole / "x_0"]


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compression_needs_no_metadata(tmp_path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
    folder = write(tmp_path / "bag", joints(0, 1), storage, mode)
    (folder / "metadata.yaml").unlink()
    (file,) = folder.iterdir()
    assert read(file) == [("/a", 0), ("/a", 1)]


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_memory_does_not_grow_with_the_bag(
    tmp_path: Path, storage: StoragePlugin, figures: Callable[[str, float], None]
) -> None:
    def peak(name: str, count: int) -> int:
        stamps = [START_NS + number * NS for number in range(count)]
        path = write(tmp_path / name, [("/a", at, image(at, 200, 200)) for at in stamps], storage)
        tracemalloc.start()
        with Bag(path) as bag:
            assert sum(1 for _ in bag.messages(TOPICS)) == count
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    read_any: Any = peak("warm", 1)
    assert read_any
    short, long = peak("short", 40), peak("long", 160)
    figures(f"peak memory of reading 19 MB from {storage.name.lower()} [MB]", long / 1e6)
    assert long < 1.3 * short + 1e6


def test_a_bag_closes_its_files(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", joints(0))
    with Bag(path) as bag:
        pass
    with pytest.raises(BagError):
        next(bag.messages(TOPICS))
    shutil.rmtree(path)
