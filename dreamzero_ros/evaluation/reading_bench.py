# SPDX-License-Identifier: Apache-2.0
"""Times reading, decoding and preparing frames of a bag, beside the same work message by message."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.observations import Seen, observations
from dreamzero_ros.evaluation.streams import Stream, streams
from dreamzero_ros.observation.buffer import Missing, ObservationBuffer
from dreamzero_ros.observation.intake import Intake

ROBOT = "droid_franka"
WIDTH, HEIGHT, QUALITY = 640, 480, 80
"""Of the JPEG images."""
SECONDS, RATE_HZ, JOINT_RATE_HZ = 20, 15, 60
FRAME_STEPS = 8
"""Control steps from one frame to the next."""
REPEATS = 3

_NS = 1_000_000_000
_STORE = get_typestore(Stores.ROS2_JAZZY)


def measure() -> dict[str, float]:
    """How many seconds of a recording are read in one, here and message by message."""
    robot = load(ROBOT)
    wanted = streams(robot)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bag"
        _write(path, robot, wanted)
        here = _best_s(lambda: _frames(path, robot, wanted))
        alone = _best_s(lambda: _frames_message_by_message(path, robot, wanted))
    return {
        "reading_times_real_time": round(SECONDS / here, 1),
        "reading_message_by_message_times_real_time": round(SECONDS / alone, 1),
    }


def print_table(results: dict[str, float]) -> None:
    """Prints what `measure` returned."""
    print(f"{f'reading, decoding, frames: 3 x {WIDTH}x{HEIGHT} JPEG at {RATE_HZ} Hz [x real time]':<60}")
    print(f"  {'as bags are played':<58}{results['reading_times_real_time']:10.1f}")
    alone = results["reading_message_by_message_times_real_time"]
    print(f"  {'message by message, rosbags and OpenCV alone':<58}{alone:10.1f}")


def _best_s(work: Callable[[], int]) -> float:
    expected = SECONDS * RATE_HZ // FRAME_STEPS
    taken_s = []
    for _ in range(REPEATS):
        begin_s = time.perf_counter()
        made = work()
        taken_s.append(time.perf_counter() - begin_s)
        assert made >= expected // 2, f"expected about {expected} frames, got {made}"
    return min(taken_s)


def _frames(path: Path, robot: Embodiment, wanted: tuple[Stream, ...]) -> int:
    buffer = ObservationBuffer(robot, max_age_s=0.3)
    intake = Intake(buffer, {})
    made = sets = 0
    with Bag(path) as bag:
        for item in observations(bag, robot, wanted, bag.start_ns, bag.end_ns + 1):
            if not isinstance(item, Seen):
                intake.joint_state(item.message, item.topic)
                continue
            intake.image(item.camera, item.stamp_ns, item.read)
            sets += item.camera is robot.cameras[-1]
            if item.camera is robot.cameras[-1] and sets % FRAME_STEPS == 0:
                frame = buffer.frame(len(robot.image_offsets_steps), "bench", item.log_ns)
                made += not isinstance(frame, Missing)
    return made


def _frames_message_by_message(path: Path, robot: Embodiment, wanted: tuple[Stream, ...]) -> int:
    """As one writes it in an afternoon: no threads, images by number instead of by stamp."""
    offsets = [step - 1 for step in robot.image_offsets_steps]
    images: dict[str, deque[Any]] = {s.topic: deque(maxlen=-offsets[0]) for s in wanted if s.required}
    cameras = [stream.topic for stream, _ in zip(wanted, robot.cameras, strict=False)]
    made = sets = 0
    with AnyReader([path]) as reader:
        chosen = [connection for connection in reader.connections if connection.topic in images]
        for connection, _, data in reader.messages(connections=chosen):
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.topic not in cameras:
                by_name = dict(zip(message.name, message.position, strict=True))
                images[connection.topic].append([by_name[joint] for joint in robot.state_joints])
                continue
            camera = robot.cameras[cameras.index(connection.topic)]
            picture = cv2.cvtColor(cv2.imdecode(message.data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            width = WIDTH * camera.height // HEIGHT
            left = (camera.width - width) // 2
            fitted = np.zeros((camera.height, camera.width, 3), np.uint8)
            size = (width, camera.height)
            fitted[:, left : left + width] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            images[connection.topic].append(fitted)
            sets += connection.topic == cameras[-1]
            full = len(images[cameras[-1]]) == -offsets[0]
            if connection.topic == cameras[-1] and sets % FRAME_STEPS == 0 and full:
                made += len([np.stack([images[topic][step] for step in offsets]) for topic in cameras]) > 0
    return made


def _write(path: Path, robot: Embodiment, wanted: tuple[Stream, ...]) -> None:
    images = list(_jpegs(robot.cameras[0].name))
    states = "sensor_msgs/msg/JointState"
    compressed = "sensor_msgs/msg/CompressedImage"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            stream.topic: writer.add_connection(
                stream.topic, compressed if number < len(robot.cameras) else states, typestore=_STORE
            )
            for number, stream in enumerate(wanted)
            if stream.required
        }
        *cameras, joints = topics
        for step in range(SECONDS * JOINT_RATE_HZ):
            stamp = step * _NS // JOINT_RATE_HZ + _NS
            message = _STORE.types[states](
                _header(stamp), list(robot.state_joints), np.zeros(len(robot.state_joints)), _none(), _none()
            )
            writer.write(topics[joints], stamp, _STORE.serialize_cdr(message, states))
            if step % (JOINT_RATE_HZ // RATE_HZ):
                continue
            for number, topic in enumerate(cameras):
                message = _STORE.types[compressed](
                    _header(stamp), "jpeg", images[(step + number) % len(images)]
                )
                writer.write(topics[topic], stamp, _STORE.serialize_cdr(message, compressed))


def _jpegs(seed: str) -> Iterator[Any]:
    """Smooth pictures that differ, of the size of a camera's in a lit room (about 45 kB)."""
    coarse = np.random.default_rng(len(seed)).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number in range(8):
        shifted = np.roll(picture, 40 * number, axis=1)
        yield cv2.imencode(".jpg", shifted, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].ravel()


def _header(stamp_ns: int) -> Any:
    stamp = _STORE.types["builtin_interfaces/msg/Time"](sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)
    return _STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id="")


def _none() -> Any:
    return np.zeros(0)
