# SPDX-License-Identifier: Apache-2.0
"""Pictures of an episode: what was observed and what was dreamed of the same time, and how alike they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dreamzero_ros.evaluation.files import write

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""

OBSERVED, DREAMED = "observed", "dreamed"
"""Folders of the pictures."""
QUALITY = 85
"""Of the JPEG files."""


class Pictures:
    """Writes pairs of pictures into a folder, numbered by time.

    Args:
        folder: Of the episode.
    """

    def __init__(self, folder: Path) -> None:
        self.times_ns: list[int] = []
        """Of each pair [ns]."""
        self._folder = folder
        for name in (OBSERVED, DREAMED):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def add(self, at_ns: int, observed: Image, dreamed: Image | None) -> None:
        """Writes a pair; without `dreamed` the observed one alone.

        Raises:
            OSError: The disk is full; no partial file is left under its final name.
        """
        name = picture_name(len(self.times_ns))
        for part, image in ((OBSERVED, observed), (DREAMED, dreamed)):
            if image is not None:
                _write(self._folder / part / name, image)
        self.times_ns.append(at_ns)


def picture_name(index: int) -> str:
    """Of the file of a picture."""
    return f"{index:06d}.jpg"


def _write(path: Path, image: Image) -> None:
    encoded, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, QUALITY)
    )
    assert encoded
    write(path, data.tobytes())


def likeness(dreamed: Image, recorded: Image) -> tuple[float, float]:
    """PSNR [dB] and structural similarity of two pictures of one size.

    Both as scikit-image computes them for 8 bits; the similarity is the mean of those of the channels, with
    windows of 7 x 7 (Wang et al., "Image quality assessment", 2004). PSNR of equal pictures is infinite.
    """
    with np.errstate(divide="ignore"):
        psnr = peak_signal_noise_ratio(recorded, dreamed, data_range=255)
    return float(psnr), float(structural_similarity(recorded, dreamed, channel_axis=2, data_range=255))
