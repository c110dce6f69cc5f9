# SPDX-License-Identifier: Apache-2.0
"""Keys and values of earlier calls in eight bits, for half the memory.

Every token has a scale in each head: its largest number becomes the largest float8. The tokens of the call
itself are attended to as they are; what is stored is widened for the kernel, which knows no eight bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamzero_ros.engine.attention import CachedAttention

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
SMALLEST_SCALE = 1e-12
"""So that a token of zeros has a scale."""


@dataclass(frozen=True, kw_only=True)
class Float8Attention(CachedAttention):
    """Self attention of one layer to keys and values that are stored as float8."""

    key_scales: Tensor
    """Of the stored keys, (B, tokens, N, 1) float32."""
    value_scales: Tensor

    def _join(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return (
            self._join_one(k, self.keys, self.key_scales),
            self._join_one(v, self.values, self.value_scales),
        )

    def _join_one(self, new: Tensor, storage: Tensor, scales: Tensor) -> Tensor:
        last = self.stored + new.shape[1]
        storage[:, self.stored : last], scales[:, self.stored : last] = narrow(new)
        stored = widen(storage[:, : self.stored], scales[:, : self.stored], new.dtype)
        return torch.cat([stored, new], dim=1)


def narrow(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (..., D) as float8, and its scales (..., 1) float32."""
    scale = x.float().abs().amax(-1, keepdim=True).clamp(min=SMALLEST_SCALE) / LARGEST
    return (x.float() / scale).clamp(-LARGEST, LARGEST).to(FLOAT8), scale


def widen(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Undo `narrow`, up to rounding."""
    return (x.float() * scale).to(dtype)
