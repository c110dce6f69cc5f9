# SPDX-License-Identifier: Apache-2.0
"""Images and joint states of a bag, in log order, as the policy node reads them; images are decoded ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2

from dreamzero_ros.embodiment.schema import Camera, Embodiment
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.clock import LOG_CLOCK, Clock
from dreamzero_ros.evaluation.streams import Kind, Stream
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.observation.intake import View, read_view

DECODERS, AHEAD = 2, 16
"""Threads that decode images, and messages that are read ahead for them."""


@dataclass(frozen=True, eq=False)
class Seen:
    """An image."""

    log_ns: int
    """When it came, on the clock that the bag is played on [ns]."""
    stamp_ns: int
    """When it was taken [ns]."""
    camera: Camera
    """Which camera took it."""
    read: Callable[[], View]
    """Gives the image, or raises why it cannot be used."""


@dataclass(frozen=True, eq=False)
class Felt:
    """A joint state."""

    log_ns: int
    """When it came, on the clock that the bag is played on [ns]."""
    stamp_ns: int
    """When it was measured [ns]."""
    topic: str
    """Where it came from."""
    message: Any
    """Shaped as sensor_msgs/JointState."""


def observations(
    bag: Bag,
    embodiment: Embodiment,
    streams: Sequence[Stream],
    start_ns: int,
    stop_ns: int,
    clock: Clock = LOG_CLOCK,
) -> Generator[Seen | Felt, None, None]:
    """What the robot saw and felt, logged from `start_ns` on and before `stop_ns`.

    Memory does not grow with the length of the bag.

    Args:
        bag: The recording.
        embodiment: The robot.
        streams: Its streams, on topics of the bag.
        start_ns: Log time [ns].
        stop_ns: Log time [ns].
        clock: On which the bag is played.

    Raises:
        BagError: The bag is damaged.
    """
    by_name = {camera.name: camera for camera in embodiment.cameras}
    cameras = {stream.topic: by_name[stream.name] for stream in streams if stream.kind is Kind.CAMERA}
    topics = {stream.topic for stream in streams if stream.required}
    with ThreadPoolExecutor(DECODERS) as decoders, _one_thread_each():
        waiting: deque[Seen | Felt] = deque()
        for logged in bag.messages(topics, start_ns, stop_ns):
            camera = cameras.get(logged.topic)
            if camera is None:
                at_ns = clock.at(logged.log_ns)
                waiting.append(Felt(at_ns, stamp_ns(logged.message), logged.topic, logged.message))
            else:
                image = decoders.submit(read_view, logged.message, logged.topic, camera)
                at_ns = clock.at(logged.log_ns)
                waiting.append(Seen(at_ns, stamp_ns(logged.message), camera, image.result))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """OpenCV's own threads would stand in the way of the decoders."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
