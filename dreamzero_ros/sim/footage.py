# SPDX-License-Identifier: Apache-2.0
"""Recorded videos as synchronous cameras: one file per camera, named like it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")


class FootageError(ValueError):
    """A folder that cannot be played; the text says which file and why."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One image of every camera, taken at the same time."""

    index: int
    """Number since the start; goes on counting when the videos begin again."""
    time_s: float
    """Time since the start, `index` / frame rate [s]."""
    images: dict[str, NDArray[np.uint8]]
    """By camera name: (H, W, 3) RGB."""


class Footage:
    """Videos of the same length and rate, read side by side.

    Args:
        folder: holds one video per camera, `<camera name>.mp4` (or avi, mkv, mov).
        cameras: names, in any order.

    Raises:
        FootageError: for a camera without a file or with two, an unreadable video, or videos that differ in
            length or rate.
    """

    def __init__(self, folder: Path, cameras: Sequence[str]) -> None:
        self._paths = {camera: _video_of(folder, camera) for camera in cameras}
        lengths, rates = {}, {}
        for path in self._paths.values():
            video = _open(path)
            lengths[path.name] = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
            rates[path.name] = round(video.get(cv2.CAP_PROP_FPS), 3)
            video.release()
        for what, values in (("number of images", lengths), ("frame rate", rates)):
            if len(set(values.values())) > 1:
                raise FootageError(f"{folder}: the videos differ in {what}: {values}; cut them to match")
        self.length: int = next(iter(lengths.values()))
        """Images per video."""
        self.rate_hz: float = next(iter(rates.values()))
        """Frame rate [1/s]."""

    def play(self, *, loop: bool = False) -> Iterator[ImageSet]:
        """All image sets in order, once or over and over.

        Raises:
            FootageError: for a video that ends before its stated length.
        """
        index = 0
        while True:
            videos = {camera: _open(path) for camera, path in self._paths.items()}
            for _ in range(self.length):
                images = {camera: self._read(camera, video, index) for camera, video in videos.items()}
                yield ImageSet(index, index / self.rate_hz, images)
                index += 1
            for video in videos.values():
                video.release()
            if not loop:
                return

    def _read(self, camera: str, video: cv2.VideoCapture, index: int) -> NDArray[np.uint8]:
        good, bgr = video.read()
        if not good:
            raise FootageError(
                f"{self._paths[camera]}: image {index % self.length} of {self.length} cannot be read; "
                "the file is damaged or cut short"
            )
        rgb: NDArray[np.uint8] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return rgb


def _video_of(folder: Path, camera: str) -> Path:
    if not folder.is_dir():
        raise FootageError(f"{folder}: no such folder")
    found = [path for suffix in SUFFIXES if (path := folder / f"{camera}{suffix}").is_file()]
    if not found:
        there = sorted(path.name for path in folder.iterdir() if path.suffix in SUFFIXES)
        raise FootageError(f"{folder}: no video for camera {camera}: expected {camera}.mp4, found {there}")
    if len(found) > 1:
        raise FootageError(f"{folder}: several videos for camera {camera}: {[path.name for path in found]}")
    return found[0]


def _open(path: Path) -> cv2.VideoCapture:
    video = cv2.VideoCapture(str(path))
    if not video.isOpened() or video.get(cv2.CAP_PROP_FPS) <= 0 or video.get(cv2.CAP_PROP_FRAME_COUNT) < 1:
        raise FootageError(f"{path}: OpenCV cannot read this video; convert it to H.264 in mp4")
    return video
