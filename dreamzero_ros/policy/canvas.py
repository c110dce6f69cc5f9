# SPDX-License-Identifier: Apache-2.0
"""The canvas that the model sees, made of camera images; needs no model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.config import WAN21_14B
from dreamzero_ros.engine.pixels import fit_view, resize_video, stitch

FULL_SIZE = (WAN21_14B.view_height, WAN21_14B.view_width)
"""Height and width of a view of the largest variant [pixels]."""


def canvas_of(
    embodiment: Embodiment,
    images: Mapping[str, NDArray[np.uint8]],
    view: tuple[int, int] = FULL_SIZE,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Stitches the views of all cameras together.

    Args:
        embodiment: The robot; says where each view lies.
        images: By camera name: (T, H, W, 3) RGB.
        view: Height and width of a view on the canvas [pixels].
        device: Where the work is done.

    Returns:
        (T, rows of the canvas * height, columns * width, 3) uint8.
    """
    views = torch.stack(
        [fit_view(torch.from_numpy(images[camera.name]).to(device), *view) for camera in embodiment.cameras],
        dim=1,
    )  # (T, V, h, w, 3)
    return stitch(views, embodiment.cells, embodiment.canvas)


def as_dreamed(canvas: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A canvas (H, W, 3) in the size in which the model dreams: resized as the model resizes what it sees."""
    if canvas.shape[:2] == (height, width):
        return canvas
    video = torch.from_numpy(canvas).float().permute(2, 0, 1)[None, :, None]  # (1, 3, 1, H, W)
    resized: NDArray[np.uint8] = (
        resize_video(video, height, width)[0, :, 0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    )
    return resized
