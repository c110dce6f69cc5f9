# SPDX-License-Identifier: Apache-2.0
"""Message-shaped objects -> arrays.

Only attributes are read, so messages of rclpy and of rosbags work alike. Images come out as (H, W, 3) uint8
RGB, where possible as a view of the message's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from dreamzero_ros.embodiment.schema import Fit
from dreamzero_ros.observation.encodings import (
    NO_COLORS,
    OTHER_ENCODING,
    READ,
    Image,
    channels_to_rgb,
    demosaic,
    is_read,
    mosaic_of,
    raw_pixels,
    require_size,
    to_rgb,
)
from dreamzero_ros.observation.judgement import ObservationError

Converter = Callable[[Any, str], Image]
"""``converter(message, "rgb8")``: brings other encodings to (H, W, 3) RGB, as CvBridge.imgmsg_to_cv2."""

_AS_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if hasattr(cv2, "IMREAD_COLOR_RGB") else None
"""Spares JPEG images, which have 8 bits and no alpha, a conversion; OpenCV has it from 4.11 on."""
_JPEG_SCAN, _JPEG_END, _PNG_END = b"\xff\xda", b"\xff\xd9", b"IEND"


def stamp_ns(message: Any) -> int:
    """Capture time in the header [ns]."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def decode_image(message: Any, topic: str, converter: Converter | None = None) -> Image:
    """An Image or CompressedImage as (H, W, 3) uint8 RGB.

    Args:
        message: Shaped as sensor_msgs/Image or sensor_msgs/CompressedImage.
        topic: Where it came from, for messages.
        converter: Takes Image encodings that are not known here; None refuses them.

    Raises:
        ObservationError: As `check_image`; or the converter refuses, or the data are damaged.
    """
    if hasattr(message, "format"):
        return _decode_compressed(message, topic)
    if is_read(message.encoding):
        return to_rgb(message, topic)
    convert = _require_converter(message.encoding, topic, converter)
    try:
        return convert(message, "rgb8")
    except Exception as error:  # cv_bridge raises its own type, OpenCV's and ValueError
        got = f"{message.encoding!r} ({error})"
        raise ObservationError(topic, f"encoding {READ}", got, OTHER_ENCODING) from error


def check_image(message: Any, topic: str, converter: Converter | None = None) -> None:
    """Judges an image as far as that is possible without decoding it; arguments as of `decode_image`.

    Raises:
        ObservationError: The encoding or the format is not read, or data are missing.
    """
    if hasattr(message, "format"):
        _require_whole(bytes(message.data), message.format, topic)
    elif is_read(message.encoding):
        raw_pixels(message, topic)
    else:
        _require_converter(message.encoding, topic, converter)


def _require_converter(encoding: str, topic: str, converter: Converter | None) -> Converter:
    """What converts an encoding that is not read here; refuses what nobody can convert without guessing."""
    if encoding in NO_COLORS:
        got = f"{encoding!r}: {NO_COLORS[encoding]}"
        raise ObservationError(topic, f"encoding {READ}", got, OTHER_ENCODING)
    if converter is None:
        raise ObservationError(topic, f"encoding {READ}", repr(encoding), OTHER_ENCODING)
    return converter


def _decode_compressed(message: Any, topic: str) -> Image:
    data, declared = bytes(message.data), str(message.format)
    _require_whole(data, declared, topic)
    encoding = declared.partition(";")[0].strip().lower()
    swapped, mosaic = _red_and_blue_swapped(declared), mosaic_of(encoding)
    as_rgb = _AS_RGB if "jp" in declared.lower() and not swapped and mosaic is None else None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), as_rgb or cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ObservationError(
            topic, f"{declared!r} data", "data that do not decode", "look at the camera driver"
        )
    if pixels.dtype != np.uint8:
        fix = "name the topic of the color image"
        raise ObservationError(topic, "8 bits per channel", f"{pixels.dtype} ({declared!r})", fix)
    if pixels.ndim == 2:
        if mosaic is None:
            return channels_to_rgb(pixels[..., None], "mono8")
        height, width = pixels.shape
        require_size(height, width, f"{mosaic}8", topic)
        return demosaic(pixels, mosaic)
    if pixels.shape[2] == 4:
        return channels_to_rgb(pixels, "bgra8")
    if swapped or as_rgb:
        return channels_to_rgb(pixels, "rgb8")
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
