# SPDX-License-Identifier: Apache-2.0
"""One block of the transformer: self attention, cross attention and feed-forward."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from dreamzero_ros.engine.attention import attend
from dreamzero_ros.engine.attention_kernels import prefer
from dreamzero_ros.engine.cache import LayerContext
from dreamzero_ros.engine.config import TransformerConfig
from dreamzero_ros.engine.layers import RmsNorm
from dreamzero_ros.engine.rope import rotate

MOST_SHAPES = 64
"""Sets of shapes for which the blocks are compiled; torch's own limit is below what one window has."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps the queries, keys and values of a sequence (B, L, N, D) to its attended values (B, L, N, D)."""


class Block(nn.Module):
    """Self attention, cross attention and feed-forward, modulated per token by its timestep."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / math.sqrt(dim))
        # 1. self attention
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(dim, config.num_heads, eps)
        # 2. cross attention
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = CrossAttention(dim, config.num_heads, eps)
        # 3. feed-forward
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        row: Tensor | None,
        rotation: Tensor,
        attend_self: Attend,
        context: LayerContext,
    ) -> Tensor:
        """Transform tokens.

        Args:
            x: Tokens, (B, L, dim).
            modulation: Projected timesteps, (B, R, 6, dim).
            row: Timestep of every token, (L,) in 0..R-1; None where all share the only one.
            rotation: Rotary embedding of every token, as `rotate` takes it.
            attend_self: Self attention of the sequence.
            context: What the tokens attend to by cross attention.
        """
        per_token = self.modulation.unsqueeze(1) + modulation  # (B, R, 6, dim)
        if row is not None:
            per_token = per_token[:, row]  # (B, L, 6, dim)
        shift1, scale1, gate1, shift2, scale2, gate2 = per_token.unbind(dim=2)
        # 1. self attention
        x = x + gate1 * self.self_attn(self.norm1(x) * (1 + scale1) + shift1, rotation, attend_self)
        # 2. cross attention
        x = x + self.cross_attn(self.norm3(x), context)
        # 3. feed-forward
        mixed: Tensor = x + gate2 * self.ffn(self.norm2(x) * (1 + scale2) + shift2)
        return mixed


class SelfAttention(nn.Module):
    """Multi-head attention with RMS-normalised, rotated queries and keys."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RmsNorm(dim, eps)
        self.norm_k = RmsNorm(dim, eps)

    def forward(self, x: Tensor, rotation: Tensor, attend_self: Attend) -> Tensor:
        """Mix tokens (B, L, dim)."""
        heads = (self.num_heads, -1)
        q = rotate(torch.unflatten(self.norm_q(self.q(x)), -1, heads), rotation)  # (B, L, N, D)
        k = rotate(torch.unflatten(self.norm_k(self.k(x)), -1, heads), rotation)
        v = torch.unflatten(self.v(x), -1, heads)
        mixed: Tensor = self.o(attend_self(q, k, v).flatten(2))
        return mixed


class CrossAttention(nn.Module):
    """Attention to image tokens and to text, each with its own softmax, summed."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RmsNorm(dim, eps)
        self.norm_k = RmsNorm(dim, eps)
        self.k_img = nn.Linear(dim, dim)
        self.v_img = nn.Linear(dim, dim)
        self.norm_k_img = RmsNorm(dim, eps)

    def project_image(self, image: Tensor) -> Tensor:
        """Return keys and values (2, B, rows, N, D) of embedded image tokens (B, rows, dim)."""
        return self._heads(self.norm_k_img(self.k_img(image)), self.v_img(image))

    def project_text(self, text: Tensor) -> Tensor:
        """Return keys and values (2, B, rows, N, D) of embedded text (B, rows, dim)."""
        return self._heads(self.norm_k(self.k(text)), self.v(text))

    def _heads(self, keys: Tensor, values: Tensor) -> Tensor:
        return torch.unflatten(torch.stack([keys, values]), -1, (self.num_heads, -1))

    def forward(self, x: Tensor, context: LayerContext) -> Tensor:
        """Let tokens (B, L, dim) attend to image and text."""
        q = torch.unflatten(self.norm_q(self.q(x)), -1, (self.num_heads, -1))  # (B, L, N, D)
        (text_keys, text_values), (image_keys, image_values) = context.text, context.image
        text = attend(q, text_keys, text_values, context.logits)
        seen: Tensor = self.o((text + attend(q, image_keys, image_values)).flatten(2))
        return seen


def run_block(
    block: Block,
    x: Tensor,
    modulation: Tensor,
    row: Tensor | None,
    rotation: Tensor,
    attend_self: Attend,
    context: LayerContext,
) -> Tensor:
    """Call a block."""
    tokens: Tensor = block(x, modulation, row, rotation, attend_self, context)
    return tokens


def run_preferring(kernels: tuple[SDPBackend, ...], *args: Any) -> Tensor:
    """Call a block with these kernels of attention preferred, seen by the compiler.

    It would take blocks compiled for another preference, of this process or on the disk, where that stands
    around the call only; and where it puts attention in place of matrix products it asks that one alone.
    """
    with prefer(kernels):
        return run_block(*args)


@lru_cache(maxsize=1)
def compiled_block() -> Callable[..., Tensor]:
    """Return `run_preferring`, compiled at the first call of every new set of shapes, for all layers at once.

    Shapes differ by the frames in the cache, by what a call holds, and by its branches of guidance.
    """
    compiled: Callable[..., Tensor] = torch.compile(run_preferring, fullgraph=True, dynamic=False)
    return compiled


def many_shapes() -> AbstractContextManager[object]:
    """Let torch compile for as many sets of shapes as a window has, in this thread, while the context lasts.

    `torch.compile` has an argument for it from 2.12 on only.
    """
    context: AbstractContextManager[object] = torch._dynamo.config.patch(recompile_limit=MOST_SHAPES)
    return context
