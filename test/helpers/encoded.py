# SPDX-License-Identifier: Apache-2.0
"""Pictures in every raw encoding, by its definition."""

from __future__ import annotations

import numpy as np

DEEP = (
    "rgb16",
    "bgr16",
    "rgba16",
    "bgra16",
    "mono16",
    *(f"bayer_{m}16" for m in ("rggb", "bggr", "gbrg", "grbg")),
)
MOSAICS = tuple(f"bayer_{mosaic}8" for mosaic in ("rggb", "bggr", "gbrg", "grbg"))
PACKED = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")
PLANAR = ("nv12", "nv21")
COLORS = (
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    *(name for name in DEEP if "mono" not in name),
    *MOSAICS,
    *PACKED,
    *PLANAR,
)
"""Encodings that keep colors."""


def encode(rgb: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> tuple[bytes, int]:
    """Data and step of an image message.

    Args:
        rgb: (H, W, 3).
        encoding: One of those above, or mono8.
        padding: Bytes behind each row.
        big_endian: The order of the bytes of 16-bit numbers.
    """
    rows = _rows(rgb, encoding, big_endian)
    rows = np.pad(rows, [(0, 0), (0, padding)], constant_values=7)
    return rows.tobytes(), rows.shape[1]


def _rows(rgb: np.ndarray, encoding: str, big_endian: bool) -> np.ndarray:
    """(rows, bytes)."""
    if encoding in DEEP:
        shallow = _rows(rgb, f"{encoding[:-2]}8", big_endian)
        deep = np.maximum(shallow.astype(int) * 257 - 40, 0)  # rounds to the same, and its two bytes differ
        return deep.astype(">u2" if big_endian else "<u2").view(np.uint8)
    if encoding in MOSAICS:
        return _mosaic(rgb, encoding[len("bayer_") : -1])
    if encoding in PACKED or encoding in PLANAR:
        return _yuv(rgb, encoding)
    if encoding == "mono8":
        return rgb[..., 0]
    opaque = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], axis=2)
    return opaque[..., ["rgba".index(letter) for letter in encoding[:-1]]].reshape(len(rgb), -1)


def _mosaic(rgb: np.ndarray, first_rows: str) -> np.ndarray:
    """One color per pixel; `first_rows` are those of the first two pixels of the first two rows."""
    found = np.zeros(rgb.shape[:2], np.uint8)
    for place, letter in enumerate(first_rows):
        row, column = divmod(place, 2)
        found[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
    return found


def _yuv(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """ITU-R BT.601, brightness 16 to 235; colors of the first of the pixels that share them."""
    r, g, b = (rgb[..., channel].astype(float) for channel in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    y, u, v = (np.rint(plane).astype(np.uint8) for plane in (y, u, v))
    if encoding in PLANAR:
        pair = (u, v) if encoding == "nv12" else (v, u)
        colors = np.stack([plane[::2, ::2] for plane in pair], axis=-1).reshape(len(rgb) // 2, -1)
        return np.concatenate([y, colors])
    colors = np.stack([u[:, ::2], v[:, ::2]], axis=-1).reshape(y.shape)
    order = (colors, y) if encoding in ("yuv422", "uyvy") else (y, colors)
    return np.stack(order, axis=-1).reshape(len(rgb), -1)
