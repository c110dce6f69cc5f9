# SPDX-License-Identifier: Apache-2.0
"""Dreamed images meet the recorded ones of the time for which they were dreamed."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.pictures import Image, Pictures, likeness
from dreamzero_ros.observation.buffer import SLACK_S, Missing, ObservationBuffer
from dreamzero_ros.policy.canvas import FULL_SIZE, as_dreamed, canvas_of
from dreamzero_ros.policy.worker import Dream

PER_CHUNK = 8
"""Pictures in the time of a chunk where nothing is dreamed."""


@dataclass(eq=False)
class _Dreamed:
    """An image whose time is still to come."""

    at_ns: int
    image: Image
    call: int
    step: int
    shown: bool = True
    """False where a later call has dreamed of the same time."""


class Dreams:
    """Compares dreams with what comes, and has pictures written of both.

    Args:
        embodiment: The robot.
        buffer: Holds the recorded images.
        pictures: Written to.
    """

    def __init__(self, embodiment: Embodiment, buffer: ObservationBuffer, pictures: Pictures) -> None:
        self._embodiment = embodiment
        self._buffer = buffer
        self._pictures = pictures
        self._period_ns = round(embodiment.horizon * embodiment.dt_s * 1e9 / PER_CHUNK)
        self._view: tuple[int, int] | None = None
        self._coming: list[_Dreamed] = []
        self._likeness: list[NDArray[np.float64]] = []

    def add(self, canvas: NDArray[np.uint8] | None, dream: Dream | None) -> None:
        """Takes what belongs to the next call.

        Args:
            canvas: (T, H, W, 3) RGB, what the model saw; None where no model looked.
            dream: What it dreamed, if it did.
        """
        rows, columns = self._embodiment.canvas
        self._view = FULL_SIZE if canvas is None else (canvas.shape[1] // rows, canvas.shape[2] // columns)
        call = len(self._likeness)
        self._likeness.append(np.full((0 if dream is None else len(dream.video), 2), np.nan))
        if dream is None:
            return
        times_ns = dream.times_ns()
        for older in self._coming:
            older.shown &= older.at_ns < times_ns[0] - (times_ns[0] - dream.chunk.stamp_ns) // 2
        for step, (at_ns, image) in enumerate(zip(times_ns, dream.video, strict=True)):
            insort(self._coming, _Dreamed(at_ns, image, call, step), key=lambda entry: entry.at_ns)

    def look(self, now_ns: int) -> None:
        """Compares what is due at a time [ns]; to be called often.

        Raises:
            OSError: Pictures cannot be written.
        """
        newest_ns = self._buffer.newest_set_ns()
        if newest_ns is None or self._view is None:
            return
        while self._coming and self._coming[0].at_ns <= newest_ns:
            self._compare(self._coming.pop(0))
        while self._coming and self._coming[0].at_ns < now_ns - SLACK_S * 1e9:  # the clock has jumped
            self._coming.pop(0)
        times_ns = self._pictures.times_ns
        pause_ns = newest_ns - times_ns[-1] if times_ns else self._period_ns
        if pause_ns >= self._period_ns and not any(entry.shown for entry in self._coming):
            canvas = self._canvas(newest_ns)
            if canvas is not None:
                self._pictures.add(newest_ns, canvas, None)

    def likeness(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """PSNR [dB] and structural similarity, (K, T) each; NaN where nothing was dreamed or recorded."""
        count = max((len(rows) for rows in self._likeness), default=0)
        table = np.full((2, len(self._likeness), count), np.nan)
        for call, rows in enumerate(self._likeness):
            table[:, call, : len(rows)] = rows.T
        return table[0], table[1]

    def _compare(self, entry: _Dreamed) -> None:
        canvas = self._canvas(entry.at_ns)
        if canvas is None:
            return
        recorded = as_dreamed(canvas, *entry.image.shape[:2])
        self._likeness[entry.call][entry.step] = likeness(entry.image, recorded)
        times_ns = self._pictures.times_ns
        if entry.shown and (not times_ns or entry.at_ns > times_ns[-1]):
            self._pictures.add(entry.at_ns, canvas, entry.image)

    def _canvas(self, at_ns: int) -> Image | None:
        images = self._buffer.images_at(at_ns)
        if isinstance(images, Missing) or self._view is None:
            return None
        canvas: Image = canvas_of(self._embodiment, images, self._view)[0].numpy()
        return canvas
