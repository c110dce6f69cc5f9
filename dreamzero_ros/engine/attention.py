# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention: dense, to a cache, and by groups of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class CachedAttention:
    """Self attention of one layer to what is stored and to the call itself, whose keys and values it stores.

    A call holds observed frames, dreamed frames, actions and states, in this order, any of which may be
    missing. Observed frames attend to what is stored and to one another, everything else to everything.
    """

    keys: Tensor
    """Storage, (B, tokens, N, D); those of the call are put behind `stored` tokens."""
    values: Tensor
    stored: int
    observed: int = 0
    """Tokens of the call that belong to observed frames where it holds dreamed ones too."""
    isolated: int = 0
    """Tokens at the end of the call, its states, that attend to themselves only, as in training."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries, keys and values of the call (B, L, N, D) to attended values (B, L, N, D)."""
        seen = self.stored + self.observed
        keys, values = self._join(k, v)
        if not (self.observed or self.isolated):
            return attend(q, keys, values)
        end = q.shape[1] - self.isolated
        parts = [attend(q[:, self.observed : end], keys, values)]
        if self.observed:
            parts.insert(0, attend(q[:, : self.observed], keys[:, :seen], values[:, :seen]))
        if self.isolated:
            parts.append(attend(q[:, end:], k[:, end:], v[:, end:]))
        return torch.cat(parts, dim=1)

    def _join(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values of the call; returns those of all tokens."""
        last = self.stored + k.shape[1]
        self.keys[:, self.stored : last] = k
        self.values[:, self.stored : last] = v
        return self.keys[:, :last], self.values[:, :last]


@dataclass(frozen=True)
class Group:
    """Tokens that share one set of keys."""

    queries: tuple[slice, ...]
    keys: tuple[slice, ...]


def attend(q: Tensor, k: Tensor, v: Tensor, logits: Tensor | None = None) -> Tensor:
    """Let every query (B, Lq, N, D) attend to every key (B, Lk, N, D).

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        logits: Added to those of the keys, (B, 1, 1, Lk), or nothing.

    Returns:
        (B, Lq, N, D).
    """
    queries, keys, values = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=logits).transpose(1, 2)


def attend_groups(q: Tensor, k: Tensor, v: Tensor, groups: Sequence[Group]) -> Tensor:
    """Let the queries of each group attend to the keys of that group; the groups cover all queries.

    Attention per group needs no mask, so fused kernels apply and no matrix of the whole sequence is built.
    """
    out = torch.empty_like(q)
    for group in groups:
        attended = attend(_pick(q, group.queries), _pick(k, group.keys), _pick(v, group.keys))
        lengths = [part.stop - part.start for part in group.queries]
        for part, rows in zip(group.queries, torch.split(attended, lengths, dim=1), strict=True):
            out[:, part] = rows
    return out


def teacher_forcing_groups(
    frames: int,
    tokens_per_frame: int,
    num_frame_per_block: int,
    num_action_per_block: int,
    num_state_per_block: int,
    window_frames: int,
) -> list[Group]:
    """Return who sees whom in a sequence [clean frames | noisy frames | actions | states].

    Frame 0 stands alone, the others form blocks. A clean block sees clean frame 0 and the clean frames of the
    window that ends with it. A noisy block and its actions see all clean frames before the block, the block
    itself, its actions and its states. States see the states of their block only.

    Args:
        frames: Latent frames of one half, 1 + blocks * num_frame_per_block.
        tokens_per_frame: Tokens of a latent frame.
        num_frame_per_block: Latent frames of a block.
        num_action_per_block: Actions of a block.
        num_state_per_block: States of a block.
        window_frames: Latent frames of the attention window of the clean half.
    """
    blocks = (frames - 1) // num_frame_per_block
    noisy_start = frames * tokens_per_frame
    action_start = 2 * noisy_start
    state_start = action_start + blocks * num_action_per_block

    def clean(first: int, last: int) -> slice:
        return slice(first * tokens_per_frame, last * tokens_per_frame)

    def noisy(first: int, last: int) -> slice:
        return slice(noisy_start + first * tokens_per_frame, noisy_start + last * tokens_per_frame)

    groups = [Group((clean(0, 1),), (clean(0, 1),)), Group((noisy(0, 1),), (noisy(0, 1),))]
    for block in range(blocks):
        begin = 1 + block * num_frame_per_block
        end = begin + num_frame_per_block
        actions = slice(*(action_start + (block + i) * num_action_per_block for i in (0, 1)))
        states = slice(*(state_start + (block + i) * num_state_per_block for i in (0, 1)))
        window = clean(max(1, end - window_frames), end)
        groups += [
            Group((clean(begin, end),), (clean(0, 1), window)),
            Group((noisy(begin, end), actions), (clean(0, begin), noisy(begin, end), actions, states)),
            Group((states,), (states,)),
        ]
    return groups


def _pick(x: Tensor, parts: tuple[slice, ...]) -> Tensor:
    return x[:, parts[0]] if len(parts) == 1 else torch.cat([x[:, part] for part in parts], dim=1)
