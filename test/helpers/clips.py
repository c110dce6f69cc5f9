# SPDX-License-Identifier: Apache-2.0
"""Videos for recordings: short, small and synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
from recordings import picture


def write_clip(folder: Path, cameras: Sequence[str], images: int = 45, rate_hz: float = 15.0) -> Path:
    """One video per camera, with patterns that wander; returns the folder."""
    folder.mkdir()
    for number, camera in enumerate(cameras):
        code = cv2.VideoWriter.fourcc(*"MJPG")
        video = cv2.VideoWriter(str(folder / f"{camera}.avi"), code, rate_hz, (64, 36))
        for index in range(images):
            video.write(picture(index, number)[..., ::-1].copy())
        video.release()
    return folder
