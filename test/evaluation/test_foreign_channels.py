# SPDX-License-Identifier: Apache-2.0
"""What a recording holds beside the topics that are asked for is no reason to refuse it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bags
import pytest
from bags import START_NS, STORE, Message, StoragePlugin
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.command import USABLE, main
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.inspection import inspect
from dreamzero_ros.evaluation.spans import Split, spans
from dreamzero_ros.evaluation.streams import streams

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
STREAMS = streams(ROBOT)
MESSAGES = bags.session(ROBOT, 2.5)
TOPICS = {topic for topic, *_ in MESSAGES}
WRIST = f"/{ROBOT.cameras[-1].topic}"
NOETIC = get_typestore(Stores.ROS1_NOETIC)

Foreign = tuple[str, str, bytes, str, bytes]
"""Name, encoding and data of a schema, encoding and data of a message."""

FOREIGN: Mapping[str, Foreign] = {
    "protobuf": ("foxglove.SceneUpdate", "protobuf", b"\n\xff\xfe\x00", "protobuf", b"\x08\x01"),
    "json": ("Note", "jsonschema", b'{"type": "object"}', "json", b"{}"),
    "flatbuffer": ("own.Table", "flatbuffer", b"\x80\x81", "flatbuffer", b"\x00"),
    "without a schema": ("", "", b"", "json", b"{}"),
    "without an encoding": ("Thing", "", b"", "", b"\xff"),
    "another definition": ("own_msgs/msg/Thing", "omgidl", b"module own { \xff", "cdr", b"\x00\x01\x00\x00"),
    "no such definition": ("own_msgs/msg/Thing", "ros2msg", b"no such thing", "cdr", b"garbage"),
}


def write_mcap(
    path: Path,
    messages: list[Message],
    foreign: Foreign | None = None,
    topic: str = "/foreign",
    profile: str = "ros2",
    encoding: str = "cdr",
    **options: Any,
) -> Path:
    """A file as other tools than rosbag2 write it, in ROS 2 or ROS 1, with a foreign channel first."""
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start(profile=profile)
        if foreign:
            name, kind, definition, message_encoding, data = foreign
            schema = writer.register_schema(name, kind, definition) if name else 0
            channel = writer.register_channel(topic, message_encoding, schema)
            writer.add_message(channel, START_NS, data, START_NS)
        channels: dict[str, int] = {}
        for name, log_ns, message in messages:
            kind = message.__msgtype__
            if name not in channels:
                schema = writer.register_schema(*_schema(kind, encoding))
                channels[name] = writer.register_channel(name, encoding, schema)
            writer.add_message(channels[name], log_ns, _serialised(message, encoding), log_ns)
        writer.finish()
    return path


def _schema(kind: str, encoding: str) -> tuple[str, str, bytes]:
    store, name = (NOETIC, kind.replace("/msg/", "/")) if encoding == "ros1" else (STORE, kind)
    definition, _ = store.generate_msgdef(kind, ros_version=1 if encoding == "ros1" else 2)
    return name, "ros1msg" if encoding == "ros1" else "ros2msg", definition.encode()


def _serialised(message: Any, encoding: str) -> bytes:
    if encoding == "ros1":
        return bytes(NOETIC.serialize_ros1(in_noetic(message), message.__msgtype__))
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def in_noetic(value: Any) -> Any:
    """The message as ROS 1 has it: headers are numbered."""
    if isinstance(value, list):
        return [in_noetic(entry) for entry in value]
    if not hasattr(value, "__msgtype__"):
        return value
    fields = {name: in_noetic(entry) for name, entry in vars(value).items() if name != "__msgtype__"}
    kind = value.__msgtype__
    return NOETIC.types[kind](**({"seq": 7} | fields if kind == "std_msgs/msg/Header" else fields))


def content(path: Path) -> list[tuple[str, int, str]]:
    """Topic, log time and message of what the robot needs."""
    with Bag(path) as bag:
        return [(m.topic, m.log_ns, _words(m.message)) for m in bag.messages(TOPICS)]


def _words(message: Any) -> str:
    return repr([getattr(message, name, None) for name in ("name", "position", "data", "joint_names")])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, str]]:
    return content(bags.write(tmp_path_factory.mktemp("bags") / "sound", MESSAGES))


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "zstd": {"compression": CompressionType.ZSTD, "chunk_size": 10_000},
    "lz4": {"compression": CompressionType.LZ4},
    "without chunks": {"use_chunking": False},
    "without an index": {"index_types": IndexType.NONE, "use_statistics": False},
    "without repeated channels": {"repeat_channels": False, "repeat_schemas": False},
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_channel_stands_under_not_used(
    tmp_path: Path, foreign: Foreign, sound: list[tuple[str, int, str]]
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", MESSAGES, foreign, compression=CompressionType.ZSTD)
    assert content(path) == sound
    with Bag(path) as bag:
        found = inspect(bag, ROBOT, STREAMS)
    assert found.usable and [topic.name for topic in found.unused] == ["/foreign"]
    name, *_, encoding, _ = foreign
    assert (name or "no type") in found.unused[0].type
    assert encoding == "cdr" or f"({encoding or 'no encoding'})" in found.unused[0].type


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_however_the_file_is_laid_out(
    tmp_path: Path, options: Mapping[str, Any], sound: list[tuple[str, int, str]]
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", MESSAGES, FOREIGN["protobuf"], **options)
    assert content(path) == sound
    with Bag(path) as bag:
        assert bag.topics["/foreign"].count == 1
        (span,) = spans(bag, STREAMS, Split(instruction="go"))
    assert span.start_ns == MESSAGES[0][1] and span.end_ns == MESSAGES[-1][1]


@pytest.mark.parametrize("profile", ["", "ros1", "custom"])
def test_any_profile_will_do(tmp_path: Path, profile: str, sound: list[tuple[str, int, str]]) -> None:
    assert content(write_mcap(tmp_path / "bag.mcap", MESSAGES, profile=profile)) == sound


def test_a_folder_with_metadata_may_hold_them_too(tmp_path: Path, sound: list[tuple[str, int, str]]) -> None:
    folder = bags.write(tmp_path / "bag", MESSAGES)
    write_mcap(folder / "bag.mcap", MESSAGES, FOREIGN["protobuf"])
    metadata = folder / "metadata.yaml"
    entry = """\
  - message_count: 1
    topic_metadata:
      name: /foreign
      offered_qos_profiles: []
      serialization_format: protobuf
      type: foxglove.SceneUpdate
      type_description_hash: ''
"""
    head, key, rest = metadata.read_text().partition("  topics_with_message_count:\n")
    metadata.write_text(head + key + entry + rest)
    assert content(folder) == sound
    assert main(["inspect", str(folder), "--embodiment", "droid_franka"]) == USABLE


def test_a_database_may_hold_them_too(tmp_path: Path, sound: list[tuple[str, int, str]]) -> None:
    folder = bags.write(tmp_path / "bag", MESSAGES, StoragePlugin.SQLITE3)
    with sqlite3.connect(folder / "bag.db3") as database:
        database.execute("INSERT INTO topics VALUES (99, '/foreign', 'own.Scene', 'protobuf', '', '')")
        database.execute("INSERT INTO messages VALUES (99999, 99, ?, ?)", (START_NS, b"\x08"))
        database.execute("INSERT INTO message_definitions VALUES (99, 'own.Scene', 'unknown', '', '')")
    assert content(folder / "bag.db3") == sound
    with Bag(folder / "bag.db3") as bag:
        assert bag.topics["/foreign"].type == "own.Scene (protobuf)"


def test_a_foreign_channel_beside_the_one_that_is_read_is_said(
    tmp_path: Path, sound: list[tuple[str, int, str]]
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", MESSAGES, FOREIGN["json"], topic="/joint_states")
    assert content(path) == sound
    with Bag(path) as bag:
        found = inspect(bag, ROBOT, STREAMS)
    assert found.usable
    assert "/joint_states also has 1 messages of type Note (json), which are not read" in found.notices


def test_where_it_is_asked_for_the_true_reason_is_said(tmp_path: Path) -> None:
    rest = [entry for entry in MESSAGES if entry[0] != WRIST]
    foreign = ("foxglove.CompressedImage", "protobuf", b"\xff", "protobuf", b"\x08\x01")
    with Bag(write_mcap(tmp_path / "bag.mcap", rest, foreign, topic=WRIST)) as bag:
        (problem,) = inspect(bag, ROBOT, STREAMS).problems
    assert problem.got == "foxglove.CompressedImage (protobuf)" and "recover" not in str(problem)


def test_a_message_that_is_not_what_its_type_says_is_named(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", MESSAGES)
    cut = ("sensor_msgs/msg/JointState", "ros2msg", _schema("sensor_msgs/msg/JointState", "cdr")[2], "cdr")
    path = write_mcap(tmp_path / "bag.mcap", MESSAGES, (*cut, b"\x00\x01\x00\x00\x01"), topic="/joint_states")
    with Bag(path) as bag, pytest.raises(BagError) as caught:
        inspect(bag, ROBOT, STREAMS)
    error = caught.value
    assert error.what == "/joint_states" and "as the recording defines it" in error.expected
    assert "recover" not in str(error)


@pytest.mark.parametrize("order", [True, False], ids=["little", "big"])
def test_text_that_is_no_utf_8_troubles_nobody_who_does_not_read_it(
    tmp_path: Path, order: bool, sound: list[tuple[str, int, str]]
) -> None:
    with bags.Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        known: dict[str, Any] = {}
        for topic, log_ns, message in MESSAGES:
            kind = message.__msgtype__
            if hasattr(message, "header"):
                message.header.frame_id = "k_mera"
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = bytes(STORE.serialize_cdr(message, kind, little_endian=order))
            assert (b"k_mera" in data) is hasattr(message, "header")
            writer.write(known[topic], log_ns, data.replace(b"k_mera", b"k\xe4mera"))
    assert content(tmp_path / "bag") == sound
    with Bag(tmp_path / "bag") as bag:
        assert next(bag.messages({"/joint_states"})).message.header.frame_id == "k?mera"


# ROS 1


def as_mcap(path: Path) -> Path:
    return write_mcap(path / "ros1.mcap", MESSAGES, profile="ros1", encoding="ros1")


def as_bag(path: Path) -> Path:
    file = path / "ros1.bag"
    with Ros1Writer(file) as writer:
        known: dict[str, Any] = {}
        for topic, log_ns, message in MESSAGES:
            kind = message.__msgtype__
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=NOETIC)
            writer.write(known[topic], log_ns, NOETIC.serialize_ros1(in_noetic(message), kind))
    return file


@pytest.mark.parametrize("make", [as_mcap, as_bag], ids=["MCAP", "bag"])
def test_recordings_of_ros_1_are_read(
    tmp_path: Path, make: Callable[[Path], Path], sound: list[tuple[str, int, str]]
) -> None:
    path = make(tmp_path)
    assert content(path) == sound
    with Bag(path) as bag:
        assert inspect(bag, ROBOT, STREAMS).usable
        stamps = list(bag.stamps({"/joint_states"}))
    assert stamps == [
        (log_ns, log_ns - 2_000_000) for topic, log_ns, _ in MESSAGES if topic == "/joint_states"
    ]


@pytest.mark.parametrize("make", [as_mcap, as_bag], ids=["MCAP", "bag"])
def test_a_damaged_one_says_how_to_save_it(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(BagError, match=r"recover|reindex"):
        content(path)
