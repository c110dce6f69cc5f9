# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding: three axes for video tokens, one for actions and states.

Angles, rotations and their product with queries and keys are float64 whatever the model's precision:
bfloat16 would merge neighbouring positions of actions. A real rotation is the same, its cosines and sines
rounded to float32 once, and its product computed in float32. Pairs are interleaved: channels 2j and 2j+1 of
a head are the real and the imaginary part of pair j.

Rotations are kept for ever: recorded calls of the transformer read them where they lie. They are few, as
positions end with the window.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

THETA = 10000.0


@cache
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


@cache
def token_rotation(start: int, count: int, head_dim: int, device: torch.device) -> Tensor:
    """Return the rotations of consecutive action or state tokens, (count, head_dim/2) complex128.

    Args:
        start: Position of the first token.
        count: Number of tokens.
        head_dim: Width of an attention head.
        device: Where the result lies.
    """
    return _unit(_angles(start, count, head_dim, device))


@cache
def call_rotation(
    starts: tuple[int, int, int],
    grid: tuple[int, int, int],
    others: tuple[int, int],
    head_dim: int,
    device: torch.device,
    real: bool,
) -> Tensor:
    """Return the rotations of all tokens of a call: frames, actions, states.

    Args:
        starts: Positions of the first frame, the first action and the first state.
        grid: Number of latent frames, rows and columns of the patch grid.
        others: Number of actions and of states.
        head_dim: Width of an attention head.
        device: Where the result lies.
        real: Whether they are given as by `real_rotation`.
    """
    video = video_rotation(starts[0], *grid, head_dim, device)
    tokens = [token_rotation(*span, head_dim, device) for span in zip(starts[1:], others, strict=True)]
    rotation = torch.cat([video, *tokens])
    return real_rotation(rotation) if real else rotation


def real_rotation(rotation: Tensor) -> Tensor:
    """Return rotations (L, D/2) complex128 as cosines and sines, (L, D/2, 2) float32."""
    return torch.view_as_real(rotation).float()


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the heads x (B, L, N, D), keeping their dtype.

    Args:
        x: Queries or keys.
        rotation: Of every token, (L, D/2) complex128, or (L, D/2, 2) float32 from `real_rotation`.
    """
    if rotation.is_complex():
        pairs = torch.view_as_complex(torch.unflatten(x.double(), -1, (-1, 2)))  # (B, L, N, D/2)
        return torch.view_as_real(pairs * rotation[:, None]).flatten(-2).to(x.dtype)
    real, imaginary = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)  # (B, L, N, D/2)
    cosine, sine = rotation[:, None].unbind(-1)
    turned = torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def _angles(start: int, count: int, dim: int, device: torch.device) -> Tensor:
    """Angles of positions start..start+count-1 for an axis of `dim` channels, (count, dim/2)."""
    positions = torch.arange(start, start + count, dtype=torch.float64, device=device)
    exponents = torch.arange(0, dim, 2, dtype=torch.float64, device=device) / dim
    return torch.outer(positions, THETA**-exponents)


def _unit(angles: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angles), angles)
