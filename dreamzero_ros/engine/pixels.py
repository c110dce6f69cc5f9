# SPDX-License-Identifier: Apache-2.0
"""From camera images to the canvas that the model sees, and to its pixel range."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CROP = 0.95
"""Part of height and width that the centre crop keeps."""

Cell = tuple[int, int, int, int]
"""Place of a view on the canvas: row, column, row span, column span."""


def fit_view(images: Tensor, height: int, width: int) -> Tensor:
    """Crop the centre of camera images and resize it, antialiased, the aspect ratio not kept.

    Args:
        images: (..., H, W, 3) uint8 RGB.
        height: Height of the result [pixels].
        width: Width of the result [pixels].

    Returns:
        (..., height, width, 3) uint8; values are truncated, not rounded, as in the reference release.
    """
    H, W = images.shape[-3:-1]
    h, w = int(CROP * H), int(CROP * W)
    top, left = round((H - h) / 2), round((W - w) / 2)
    cropped = images[..., top : top + h, left : left + w, :].movedim(-1, -3)  # (..., 3, h, w)
    unit = cropped.reshape(-1, 3, h, w).float() / 255
    resized = F.interpolate(unit, (height, width), mode="bilinear", antialias=True)
    fitted = (255 * resized).to(torch.uint8)
    return fitted.reshape(*images.shape[:-3], 3, height, width).movedim(-3, -1)


def stitch(views: Tensor, cells: Sequence[Cell], grid: tuple[int, int]) -> Tensor:
    """Put views beside one another; a view that spans cells has its rows and columns duplicated.

    Args:
        views: (..., V, h, w, 3) uint8.
        cells: Place of each of the V views.
        grid: Rows and columns of the canvas, in cells; cells without a view are black.

    Returns:
        Canvas, (..., rows * h, columns * w, 3) uint8.
    """
    h, w = views.shape[-3:-1]
    canvas = views.new_zeros((*views.shape[:-4], grid[0] * h, grid[1] * w, 3))
    for view, (row, column, row_span, column_span) in zip(views.unbind(-4), cells, strict=True):
        stretched = view.repeat_interleave(row_span, dim=-3).repeat_interleave(column_span, dim=-2)
        rows = slice(row * h, (row + row_span) * h)
        columns = slice(column * w, (column + column_span) * w)
        canvas[..., rows, columns, :] = stretched
    return canvas


def to_unit_range(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Map images (B, T, H, W, 3) uint8 to video (B, 3, T, H, W) in [-1, 1].

    Values pass through `dtype` before they are centred, as in the reference release.
    """
    unit = (images.float() / 255).to(dtype)
    return ((unit - 0.5) / 0.5).permute(0, 4, 1, 2, 3)


def from_unit_range(video: Tensor) -> Tensor:
    """Map video (B, 3, T, H, W) in [-1, 1] to images (B, T, H, W, 3) uint8."""
    images = ((video.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return images.permute(0, 2, 3, 4, 1)


def stretch_images(images: Tensor, block_frames: int, temporal_factor: int) -> Tensor:
    """Repeat images so that they encode to at least one block of latents behind a first one.

    The autoencoder makes a latent of the first image alone and one of every further `temporal_factor`
    images. As in the reference release, images of a fitting number stay as they are; otherwise each is
    repeated equally often to fill the block, and the oldest once more in front.

    Args:
        images: (B, T, ...), oldest first.
        block_frames: Latent frames of a block.
        temporal_factor: Images per latent frame.

    Raises:
        ValueError: If T is too small or too large to fill a block so.
    """
    count = images.shape[1]
    if (count - 1) // temporal_factor == block_frames:
        return images
    groups = count // temporal_factor
    if not 1 <= groups <= block_frames:
        most = temporal_factor * (block_frames + 1)
        raise ValueError(
            f"images: expected {temporal_factor} to {most} of them to continue a window, got {count}; "
            f"give the newest {temporal_factor}, or 1 to begin a new window"
        )
    repeated = images.repeat_interleave(block_frames // groups, dim=1)
    return torch.cat([images[:, :1], repeated], dim=1)


def resize_video(video: Tensor, height: int, width: int) -> Tensor:
    """Resize every image of a video (B, 3, T, H, W), bilinear without antialiasing."""
    flat = video.transpose(1, 2).flatten(0, 1)  # (B*T, 3, H, W)
    resized = F.interpolate(flat, (height, width), mode="bilinear", align_corners=False)
    return torch.unflatten(resized, 0, (video.shape[0], -1)).transpose(1, 2)
