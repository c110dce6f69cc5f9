# SPDX-License-Identifier: Apache-2.0
"""Size of an image message from its header, without decoding it."""

from __future__ import annotations

import struct
from typing import Any

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
"""JPEG markers within those of the frame headers (0xC0 to 0xCF) that are none: tables and an extension."""


def image_size(message: Any) -> tuple[int, int] | None:
    """(width, height) [pixels] of an Image or CompressedImage; None where the data have no such header."""
    if not hasattr(message, "format"):
        return int(message.width), int(message.height)
    data = memoryview(message.data).cast("B")
    if data[:8] == _PNG and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    return _jpeg_size(data) if data[:2] == _JPEG else None


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    """Walks the segments up to the frame header; ITU-T T.81, annex B."""
    place = len(_JPEG)
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None
