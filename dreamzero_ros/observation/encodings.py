# SPDX-License-Identifier: Apache-2.0
"""Raw image messages -> RGB, by their encoding as `sensor_msgs/image_encodings.hpp` names it.

OpenCV converts what needs arithmetic, so that an image is the same live and from a recording, with and
without cv_bridge. White is the largest number of 16 bits where an encoding of colors has so many, as for
cv_bridge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.observation.judgement import ObservationError

Image = NDArray[np.uint8]

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
"""Bytes per pixel of the encodings whose images are views of the message's memory."""

_MOSAICS = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
"""ROS names a mosaic by its first two rows, OpenCV by the pixels one further down and to the right."""
_LEAST_MOSAIC = 3
"""Smallest side of a mosaic that can be interpolated [pixels]."""

_YUV = {
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUYV),
    "nv12": (1, cv2.COLOR_YUV2RGB_NV12),
    "nv21": (1, cv2.COLOR_YUV2RGB_NV21),
}
"""Bytes per pixel in a row, and OpenCV's name. With 2, two pixels side by side share their color; with 1, the
colors of 2 x 2 pixels each stand in rows below, half as many as the image has."""

READ = "rgb8, bgr8, rgba8, bgra8, mono8, bayer_*8 (or 16 for 8), yuv422, yuv422_yuy2, nv12 or nv21"
"""Encodings that are read, in words."""
OTHER_ENCODING = "let the driver send one of these, or name the topic of the camera's color image"
"""What helps against another encoding, of a robot and of a recording."""

NO_COLORS = {
    "16UC1": "depth",
    "32FC1": "depth",
    "8UC1": "one channel that may be anything",
    "8UC3": "three channels, of which red or blue may be the first",
    "8UC4": "four channels, of which red or blue may be the first",
}
"""Encodings of numbers that may mean several things, none of which is guessed."""


@dataclass(frozen=True)
class _Encoding:
    channels: int
    """Numbers per pixel in a row."""
    convert: Callable[[NDArray[Any]], Image]
    """(rows, W, channels) -> (H, W, 3) RGB."""
    deep: bool = False
    """Numbers have 16 bits instead of 8."""
    below: bool = False
    """Half as many rows follow below the image."""
    even: tuple[bool, bool] = (False, False)
    """Whether height and width must be even."""
    least: int = 1
    """Smallest height and width [pixels]."""


def channels_to_rgb(pixels: Image, encoding: str) -> Image:
    """(H, W, C) of an encoding in `CHANNELS` -> (H, W, 3) view."""
    if encoding == "mono8":
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return pixels[..., :3] if encoding.startswith("rgb") else pixels[..., 2::-1]


def mosaic_of(encoding: str) -> str | None:
    """The mosaic that an encoding such as ``bayer_rggb8`` stands for, for `demosaic`; None for no mosaic."""
    name = encoding.removesuffix("16").removesuffix("8")
    return name if name in _MOSAICS else None


def demosaic(pixels: Image, mosaic: str) -> Image:
    """(H, W) or (H, W, 1) mosaic, at least 3 x 3 -> (H, W, 3) RGB."""
    return _opencv(pixels, _MOSAICS[mosaic])


def _opencv(pixels: Image, code: int) -> Image:
    rgb: Image = cv2.cvtColor(np.ascontiguousarray(pixels), code)
    return rgb


def _shallow(pixels: NDArray[np.uint16]) -> Image:
    """16 bits to 8: 65535 to 255."""
    scaled: Image = cv2.convertScaleAbs(np.ascontiguousarray(pixels, np.uint16), alpha=255 / 65535)
    return scaled.reshape(pixels.shape)


def _table() -> dict[str, _Encoding]:
    table = {
        name: _Encoding(count, partial(channels_to_rgb, encoding=name)) for name, count in CHANNELS.items()
    }
    for mosaic in _MOSAICS:
        table[f"{mosaic}8"] = _Encoding(1, partial(demosaic, mosaic=mosaic), least=_LEAST_MOSAIC)
    for name, shallow in list(table.items()):
        convert = partial(_converted_after, convert=shallow.convert)
        table[f"{name[:-1]}16"] = _Encoding(shallow.channels, convert, deep=True, least=shallow.least)
    for name, (channels, code) in _YUV.items():
        below = channels == 1
        table[name] = _Encoding(channels, partial(_opencv, code=code), below=below, even=(below, True))
    return table


def _converted_after(pixels: NDArray[Any], convert: Callable[[Image], Image]) -> Image:
    return convert(_shallow(pixels))


_ENCODINGS = _table()


def is_read(encoding: str) -> bool:
    """Whether `to_rgb` reads an encoding."""
    return encoding in _ENCODINGS


def to_rgb(message: Any, topic: str) -> Image:
    """(H, W, 3) RGB of an image message; where no arithmetic is needed, a view of its memory.

    Args:
        message: Shaped as sensor_msgs/Image; `is_read` must hold for its encoding.
        topic: Where it came from, for messages.

    Raises:
        ObservationError: The sizes do not fit, or data are missing.
    """
    return _ENCODINGS[message.encoding].convert(raw_pixels(message, topic))


def raw_pixels(message: Any, topic: str) -> NDArray[Any]:
    """(rows, W, channels) view of the message's memory; rows of the message may be padded.

    Raises:
        ObservationError: As `to_rgb`.
    """
    encoding = _ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    fix = "look for a driver or a bridge that changes the size without the data"
    if height == 0 or width == 0:
        raise ObservationError(topic, "an image", f"an empty one of {width}x{height}", fix)
    require_size(height, width, message.encoding, topic)
    row = width * encoding.channels * (2 if encoding.deep else 1)
    if step < row:
        least = f"rows of at least {row} bytes for {width} pixels of {message.encoding}"
        raise ObservationError(topic, least, f"step {step}", fix)
    rows = height * 3 // 2 if encoding.below else height
    data = np.frombuffer(message.data, np.uint8)
    if data.size < rows * step:
        size = f"{width}x{height}" + ("" if message.encoding in CHANNELS else f" {message.encoding}")
        raise ObservationError(topic, f"{rows * step} bytes for {size}", f"only {data.size}", fix)
    pixels: NDArray[Any] = data[: rows * step].reshape(rows, step)[:, :row]
    if encoding.deep:
        pixels = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
    return pixels.reshape(rows, width, encoding.channels)


def require_size(height: int, width: int, encoding: str, topic: str) -> None:
    """Refuses sizes [pixels] that an encoding which is read does not have.

    Raises:
        ObservationError: It does not have this size.
    """
    form = _ENCODINGS[encoding]
    fix = "look at the camera driver: the encoding or the size is wrong"
    for name, pixels, even in (("height", height, form.even[0]), ("width", width, form.even[1])):
        if even and pixels % 2:
            raise ObservationError(topic, f"an even {name} for {encoding}", str(pixels), fix)
        if pixels < form.least:
            raise ObservationError(
                topic, f"a {name} of at least {form.least} for {encoding}", str(pixels), fix
            )
