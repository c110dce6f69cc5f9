# SPDX-License-Identifier: Apache-2.0
"""Message-shaped objects -> arrays.

Only attributes are read, so messages of rclpy and of rosbags work alike. Images come out as (H, W, 3) uint8
RGB, where possible as a view of the message's memory.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Fit

Image = NDArray[np.uint8]
Converter = Callable[[Any, str], Image]
"""``converter(message, "rgb8")``: brings other encodings to (H, W, 3) RGB, as CvBridge.imgmsg_to_cv2."""

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
"""Bytes per pixel of the encodings that are decoded here."""

_AS_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if hasattr(cv2, "IMREAD_COLOR_RGB") else None
"""Spares JPEG images, which have 8 bits and no alpha, a conversion; OpenCV has it from 4.11 on."""
_JPEG_SCAN, _JPEG_END, _PNG_END = b"\xff\xda", b"\xff\xd9", b"IEND"


class ObservationError(ValueError):
    """A message that cannot be used; the text names the topic, what was expected and got, and what to do."""

    def __init__(self, topic: str, expected: str, got: str, fix: str) -> None:
        super().__init__(f"{topic}: expected {expected}, got {got}; {fix}")
        self.topic = topic


def stamp_ns(message: Any) -> int:
    """Capture time in the header [ns]."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def decode_image(message: Any, topic: str, converter: Converter | None = None) -> Image:
    """An Image or CompressedImage as (H, W, 3) uint8 RGB.

    Args:
        message: Shaped as sensor_msgs/Image or sensor_msgs/CompressedImage.
        topic: Where it came from, for messages.
        converter: Takes Image encodings that are not in `CHANNELS`; None refuses them.

    Raises:
        ObservationError: The encoding is unknown, or the data are truncated or damaged.
    """
    if hasattr(message, "format"):
        return _decode_compressed(message, topic)
    if message.encoding in CHANNELS:
        return _to_rgb(_pixels(message, topic), message.encoding)
    if converter is None:
        known = ", ".join(CHANNELS)
        fix = "set the encoding in the camera driver, or install ros-${ROS_DISTRO}-cv-bridge"
        raise ObservationError(topic, f"encoding {known}", repr(message.encoding), fix)
    try:
        return converter(message, "rgb8")
    except Exception as error:  # cv_bridge raises its own type, OpenCV's and ValueError
        fix = "set the encoding in the camera driver"
        raise ObservationError(topic, "an encoding that converts to rgb8", str(error), fix) from error


def _pixels(message: Any, topic: str) -> Image:
    """(H, W, C) view of the message's memory; rows may be padded."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    channels = CHANNELS[message.encoding]
    fix = "look for a driver or a bridge that changes the size without the data"
    if height == 0 or width == 0:
        raise ObservationError(topic, "an image", f"an empty one of {width}x{height}", fix)
    if step < width * channels:
        row = f"rows of at least {width * channels} bytes for {width} pixels of {message.encoding}"
        raise ObservationError(topic, row, f"step {step}", fix)
    data = np.frombuffer(message.data, np.uint8)
    if data.size < height * step:
        raise ObservationError(topic, f"{height * step} bytes for {width}x{height}", f"only {data.size}", fix)
    rows = data[: height * step].reshape(height, step)
    return rows[:, : width * channels].reshape(height, width, channels)


def _to_rgb(pixels: Image, encoding: str) -> Image:
    """(H, W, C) -> (H, W, 3) view."""
    if encoding == "mono8":
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return pixels[..., :3] if encoding.startswith("rgb") else pixels[..., 2::-1]


def _decode_compressed(message: Any, topic: str) -> Image:
    data = bytes(message.data)
    _require_whole(data, message.format, topic)
    swapped = _red_and_blue_swapped(message.format)
    as_rgb = _AS_RGB if "jp" in message.format.lower() and not swapped else None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), as_rgb or cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ObservationError(
            topic, f"{message.format!r} data", "data that do not decode", "look at the camera driver"
        )
    if pixels.dtype != np.uint8:
        fix = "name the topic of the color image"
        raise ObservationError(topic, "8 bits per channel", f"{pixels.dtype} ({message.format!r})", fix)
    if pixels.ndim == 2:
        return _to_rgb(pixels[..., None], "mono8")
    if pixels.shape[2] == 4:
        return _to_rgb(pixels, "bgra8")
    if swapped or as_rgb:
        return _to_rgb(pixels, "rgb8")
    rgb: Image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # resizing a view of swapped channels takes longer
    return rgb


def _require_whole(data: bytes, declared: str, topic: str) -> None:
    """Refuses what ends early: OpenCV would fill the missing part of a JPEG with grey."""
    name = declared.lower()
    if "compresseddepth" in name:
        fix = "name the topic of the color image"
        raise ObservationError(topic, "a color image", f"a depth image ({declared!r})", fix)
    if "jpeg" in name or "jpg" in name:
        whole = data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN)
    elif "png" in name:
        whole = _PNG_END in data[-16:]
    else:
        raise ObservationError(
            topic, "format jpeg or png", repr(declared), "change the transport of the camera"
        )
    if not whole:
        fix = "look for losses between the camera and here"
        raise ObservationError(topic, f"{declared!r} data with an end", f"{len(data)} bytes without", fix)


def _red_and_blue_swapped(declared: str) -> bool:
    """Whether a file holds RGB pixels where the format says BGR.

    compressed_image_transport writes "<encoding>; jpeg compressed bgr8" for an ordinary file. Without
    the bgr it stored the channels of a color image as they were, and its subscriber reads them so.
    """
    encoding, separator, storage = declared.partition(";")
    color = encoding.strip().lower() in ("rgb8", "rgba8", "bgr8", "bgra8")
    return bool(separator) and color and "compressed bgr" not in storage


def fit(image: Image, width: int, height: int, how: Fit) -> Image:
    """Brings an image to a size.

    Args:
        image: (H, W, 3).
        width: Wanted width [pixels].
        height: Wanted height [pixels].
        how: ``letterbox`` keeps all of it and adds black bars, ``crop`` fills the size and cuts the rest
            from the middle, ``stretch`` ignores the aspect ratio.

    Returns:
        (height, width, 3); the image itself where it has this size.
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    if how == "stretch":
        return _resize(image, width, height)
    scales = (width / columns, height / rows)
    scale = min(scales) if how == "letterbox" else max(scales)
    inner_width, inner_height = max(1, round(columns * scale)), max(1, round(rows * scale))
    scaled = _resize(image, inner_width, inner_height)
    top, left = abs(height - inner_height) // 2, abs(width - inner_width) // 2
    if how == "crop":
        return scaled[top : top + height, left : left + width]
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = scaled
    return canvas


def _resize(image: Image, width: int, height: int) -> Image:
    """Averages areas when it shrinks, so that fine texture does not flicker; bilinear when it grows."""
    shrinks = width * height < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: Image = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=interpolation)
    return resized


def joint_positions(message: Any, joints: Sequence[str], topic: str) -> NDArray[np.float64]:
    """Positions by name.

    Args:
        message: Shaped as sensor_msgs/JointState; any order, other joints are ignored.
        joints: The wanted joints.
        topic: Where it came from, for messages.

    Returns:
        (J,) positions [rad or m], in the order of `joints`.

    Raises:
        ObservationError: A joint is missing, named twice or not finite, or the lists differ in length.
    """
    names, positions = list(message.name), np.asarray(message.position, dtype=np.float64)
    if len(names) != len(positions):
        fix = "look at the publisher of the joint states"
        raise ObservationError(topic, f"{len(names)} positions", str(len(positions)), fix)
    index = {name: i for i, name in enumerate(names)}
    missing = [joint for joint in joints if joint not in index]
    if missing:
        close = difflib.get_close_matches(missing[0], names, n=1)
        got = f"no {', '.join(missing)}" + (f" (but {close[0]})" if close else "")
        raise ObservationError(
            topic, f"joints {', '.join(joints)}", got, "compare the joint names in the robot file"
        )
    values = positions[[index[joint] for joint in joints]]
    for joint, value in zip(joints, values, strict=True):
        if not np.isfinite(value):
            fix = "look at the robot's driver"
            raise ObservationError(topic, "finite positions", f"{joint} at {value}", fix)
    if len(index) != len(names):
        twice = [joint for joint in joints if names.count(joint) > 1]
        if twice:
            fix = "let one publisher name each joint"
            raise ObservationError(topic, "each joint once", f"{', '.join(twice)} twice", fix)
    return values
