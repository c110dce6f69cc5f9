# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding: three axes for video tokens, one for actions and states.

Angles, rotations and their product with queries and keys are float64 whatever the model's precision:
bfloat16 would merge neighbouring positions of actions. Pairs are interleaved: channels 2j and 2j+1 of a
head are the real and the imaginary part of pair j.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

THETA = 10000.0


@lru_cache(maxsize=64)
def video_rotation(
    start_frame: int, frames: int, height: int, width: int, head_dim: int, device: torch.device
) -> Tensor:
    """Return the rotations of the tokens of some latent frames, (frames*height*width, head_dim/2) complex128.

    The pairs of a head are split over time, row and column; each axis has its own denominator.

    Args:
        start_frame: Position of the first frame.
        frames: Number of latent frames.
        height: Rows of the patch grid.
        width: Columns of the patch grid.
        head_dim: Width of an attention head.
        device: Where the result lies.
    """
    side = 2 * (head_dim // 6)
    time = _angles(start_frame, frames, head_dim - 2 * side, device)[:, None, None]
    row = _angles(0, height, side, device)[None, :, None]
    column = _angles(0, width, side, device)[None, None, :]
    grid = (frames, height, width, -1)
    angles = torch.cat([time.expand(grid), row.expand(grid), column.expand(grid)], dim=-1)
    return _unit(angles.flatten(0, 2))


@lru_cache(maxsize=64)
def token_rotation(start: int, count: int, head_dim: int, device: torch.device) -> Tensor:
    """Return the rotations of consecutive action or state tokens, (count, head_dim/2) complex128.

    Args:
        start: Position of the first token.
        count: Number of tokens.
        head_dim: Width of an attention head.
        device: Where the result lies.
    """
    return _unit(_angles(start, count, head_dim, device))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the heads x (B, L, N, D) by `rotation` (L, D/2), keeping the dtype of x."""
    pairs = torch.view_as_complex(torch.unflatten(x.double(), -1, (-1, 2)))  # (B, L, N, D/2)
    return torch.view_as_real(pairs * rotation[:, None]).flatten(-2).to(x.dtype)


def _angles(start: int, count: int, dim: int, device: torch.device) -> Tensor:
    """Angles of positions start..start+count-1 for an axis of `dim` channels, (count, dim/2)."""
    positions = torch.arange(start, start + count, dtype=torch.float64, device=device)
    exponents = torch.arange(0, dim, 2, dtype=torch.float64, device=device) / dim
    return torch.outer(positions, THETA**-exponents)


def _unit(angles: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angles), angles)
