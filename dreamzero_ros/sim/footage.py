# SPDX-License-Identifier: Apache-2.0
"""Recorded videos as synchronous cameras: one file per camera, named like it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")
_CODECS = {"av01": "AV1 (av01)", "hev1": "HEVC (hev1)", "hvc1": "HEVC (hvc1)", "vp09": "VP9 (vp09)"}
"""Names of codecs that people know, by what containers call them."""


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
        folder: holds one video per camera, `<camera name>.mp4` (or avi, mkv, mov; in capitals too).
        cameras: names, in any order.

    Raises:
        FootageError: for a camera without a file or with two, a video that OpenCV cannot decode, or videos
            that differ in length or rate.
    """

    def __init__(self, folder: Path, cameras: Sequence[str]) -> None:
        self._paths = {camera: _video_of(folder, camera) for camera in cameras}
        lengths, rates = {}, {}
        for path in self._paths.values():
            video = _open(path)
            if not video.grab():
                raise _undecodable(path, video)
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
    videos = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
    found = [path for path in videos if path.stem == camera]
    if not found:
        there = [path.name for path in videos]
        raise FootageError(f"{folder}: no video for camera {camera}: expected {camera}.mp4, found {there}")
    if len(found) > 1:
        raise FootageError(f"{folder}: several videos for camera {camera}: {[path.name for path in found]}")
    return found[0]


def _open(path: Path) -> cv2.VideoCapture:
    video = cv2.VideoCapture(str(path))
    if not video.isOpened() or video.get(cv2.CAP_PROP_FPS) <= 0 or video.get(cv2.CAP_PROP_FRAME_COUNT) < 1:
        raise _undecodable(path, video)
    return video


def _undecodable(path: Path, video: cv2.VideoCapture) -> FootageError:
    """Names the codec, where the container says one, and the command that converts it."""
    code = int(video.get(cv2.CAP_PROP_FOURCC)) if video.isOpened() else 0
    codec = code.to_bytes(4, "little").decode("latin-1").strip("\0 ")
    known = f" of codec {_CODECS.get(codec.lower(), codec)}" if codec else ""
    source, target = shlex.quote(path.name), shlex.quote(f"h264/{path.stem}.mp4")
    convert = f"mkdir h264 && ffmpeg -i {source} -c:v libx264 -pix_fmt yuv420p {target}"
    return FootageError(
        f"{path}: OpenCV cannot read this video{known}; convert it to H.264 in mp4: "
        f"`{convert}`; if that fails too, the file is damaged"
    )
