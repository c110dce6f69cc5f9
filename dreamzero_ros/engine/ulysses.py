# SPDX-License-Identifier: Apache-2.0
"""Sequence parallel calls of the transformer, after DeepSpeed-Ulysses.

Every rank has a part of the tokens and does for itself all that is done per token. For self attention, one
exchange turns all heads of a rank's tokens into all tokens of a rank's heads, so that a rank stores the keys
and values of its heads only, and another exchange turns the result back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamzero_ros.engine.parallel import Group


@dataclass(frozen=True)
class TokenShare:
    """This rank's part of the tokens of a call."""

    group: Group
    lengths: tuple[int, ...]
    """Number of tokens of every rank, in their order; they differ by one at most."""

    def mine(self, x: Tensor, dim: int) -> Tensor:
        """Return this rank's part of what there is for every token."""
        rank = self.group.rank
        return x.narrow(dim, sum(self.lengths[:rank]), self.lengths[rank])

    def attention(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> SharedAttention:
        """Self attention of a rank's tokens, where `attend` is that of all tokens in a rank's heads."""
        return SharedAttention(attend, self)

    def gather(self, tokens: Tensor) -> Tensor:
        """Join the parts (B, l, dim) of all ranks to all tokens (B, L, dim)."""
        padded = F.pad(tokens, (0, 0, 0, max(self.lengths) - tokens.shape[1]))
        parts = self.group.all_gather(padded)
        return torch.cat([part[:, :length] for part, length in zip(parts, self.lengths, strict=True)], dim=1)


@dataclass(frozen=True)
class SharedAttention:
    """Self attention in which every rank computes a part of the heads."""

    attend: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Maps queries, keys and values of all tokens in a rank's heads, (B, L, n, D), to attended values."""
    share: TokenShare

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries, keys and values of a rank's tokens (B, l, N, D) to attended values (B, l, N, D)."""
        return self._to_tokens(self.attend(*self._to_heads(torch.stack([q, k, v])).unbind()))

    def _to_heads(self, x: Tensor) -> Tensor:
        """Turn all heads of a rank's tokens (3, B, l, N, D) into all tokens of its heads (3, B, L, n, D)."""
        group, lengths = self.share.group, self.share.lengths
        parts = torch.unflatten(x, 3, (group.size, -1)).permute(3, 2, 0, 1, 4, 5)  # (ranks, l, 3, B, n, D)
        own = [lengths[group.rank]] * group.size
        return group.all_to_all(parts.flatten(0, 1), own, lengths).permute(1, 2, 0, 3, 4)

    def _to_tokens(self, x: Tensor) -> Tensor:
        """Turn all tokens of a rank's heads (B, L, n, D) into all heads of its tokens (B, l, N, D)."""
        group, lengths = self.share.group, self.share.lengths
        own = [lengths[group.rank]] * group.size
        parts = group.all_to_all(x.transpose(0, 1), lengths, own)  # (ranks * l, B, n, D)
        return torch.unflatten(parts, 0, (group.size, -1)).permute(2, 1, 0, 3, 4).flatten(2, 3)


def share_tokens(group: Group, count: int) -> TokenShare:
    """Share the tokens of a call among the ranks of a group."""
    fewest, more = divmod(count, group.size)
    return TokenShare(group, tuple(fewest + (rank < more) for rank in range(group.size)))
