# SPDX-License-Identifier: Apache-2.0
"""Recordings to read: real bags of tiny images and few joints."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dreamzero_ros.embodiment.schema import Embodiment

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types

Message = tuple[str, int, Any]
"""Topic, log time [ns], message."""


def header(stamp_ns: int) -> Any:
    stamp = T["builtin_interfaces/msg/Time"](sec=stamp_ns // NS, nanosec=stamp_ns % NS)
    return T["std_msgs/msg/Header"](stamp=stamp, frame_id="")


def pixels(width: int = 16, height: int = 8) -> np.ndarray:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)


def image(stamp_ns: int, width: int = 16, height: int = 8, encoding: str = "rgb8") -> Any:
    data = pixels(width, height).ravel()
    return T["sensor_msgs/msg/Image"](header(stamp_ns), height, width, encoding, 0, 3 * width, data)


def compressed(stamp_ns: int, width: int = 16, height: int = 8, suffix: str = ".jpg") -> Any:
    data = cv2.imencode(suffix, pixels(width, height))[1]
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return T["sensor_msgs/msg/CompressedImage"](header(stamp_ns), kind, np.frombuffer(data, np.uint8))


def joint_state(stamp_ns: int, names: Sequence[str], positions: Sequence[float] = ()) -> Any:
    """Positions are 0, 1, 2 and so on if they are not given."""
    positions = np.array(positions or range(len(names)), np.float64)
    return T["sensor_msgs/msg/JointState"](header(stamp_ns), list(names), positions, np.zeros(0), np.zeros(0))


def at_start(robot: Embodiment, stamp_ns: int) -> Any:
    """The joint state of a robot in its start pose."""
    positions = [robot.start_pose[joint] for joint in robot.state_joints]
    return joint_state(stamp_ns, robot.state_joints, positions)


def in_parts(messages: Iterable[Message]) -> list[Message]:
    """The same with each joint state in parts: wheels of a base, the hand, and the arm."""
    found: list[Message] = []
    for topic, log_ns, message in messages:
        if message.__msgtype__ != "sensor_msgs/msg/JointState":
            found.append((topic, log_ns, message))
            continue
        hand = ["finger" in name for name in message.name]
        for names, positions in (
            (["left_wheel", "right_wheel"], np.array([1e3, -1e3])),
            ([name for name, of in zip(message.name, hand, strict=True) if of], message.position[hand]),
            (
                [name for name, of in zip(message.name, hand, strict=True) if not of],
                message.position[~np.array(hand)],
            ),
        ):
            kind = type(message)
            part = kind(message.header, names, positions, np.zeros(0), np.zeros(0))
            found.append((topic, log_ns, part))
    return found


def command(stamp_ns: int, names: Sequence[str]) -> Any:
    after = T["builtin_interfaces/msg/Duration"](sec=0, nanosec=NS // 10)
    zeros = np.zeros(len(names))
    point = T["trajectory_msgs/msg/JointTrajectoryPoint"](zeros, zeros, zeros, np.zeros(0), after)
    return T["trajectory_msgs/msg/JointTrajectory"](header(stamp_ns), list(names), [point])


def write(
    folder: Path,
    messages: Iterable[Message],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    announced: Sequence[tuple[str, str]] = (),
) -> Path:
    """Writes a bag; `announced` are topics and types without messages."""
    writer = Writer(folder, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in announced
        }
        for topic, log_ns, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, kind))
    return folder


def join(folder: Path, parts: Sequence[Path], metadata: bool = True) -> Path:
    """Makes one folder of several, as a recording that was split; with `metadata.yaml` or without."""
    folder.mkdir()
    whole: dict[str, Any] = {}
    for part in parts:
        info = yaml.safe_load((part / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        for name in info["relative_file_paths"]:
            shutil.copy(part / name, folder / name)
        if not whole:
            whole = info
            continue
        whole["relative_file_paths"] += info["relative_file_paths"]
        whole["message_count"] += info["message_count"]
        counts = {t["topic_metadata"]["name"]: t for t in whole["topics_with_message_count"]}
        for topic in info["topics_with_message_count"]:
            known = counts.setdefault(topic["topic_metadata"]["name"], topic | {"message_count": 0})
            known["message_count"] += topic["message_count"]
        whole["topics_with_message_count"] = list(counts.values())
    if metadata:
        (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": whole}))
    return folder


def session(
    robot: Embodiment, seconds: float = 2.0, rate_hz: int = 15, delay_ns: int = 2_000_000
) -> list[Message]:
    """What a robot's cameras, joints and controllers send; logged `delay_ns` after the stamp."""
    messages: list[Message] = []
    for step in range(round(seconds * rate_hz)):
        stamp = START_NS + step * NS // rate_hz
        log_ns = stamp + delay_ns
        messages += [(f"/{camera.topic}", log_ns, image(stamp)) for camera in robot.cameras]
        messages.append(("/joint_states", log_ns, at_start(robot, stamp)))
        messages += [(f"/{c.name}/joint_trajectory", log_ns, command(0, c.joints)) for c in robot.controllers]
    return messages
