# SPDX-License-Identifier: Apache-2.0
"""Preallocated key/value caches: one grows with the frames of a session, one holds its conditioning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dreamzero_ros.engine.attention import CachedAttention
from dreamzero_ros.engine.config import TransformerConfig
from dreamzero_ros.engine.float8_cache import FLOAT8, Float8Attention

ALL_ROWS = slice(None)

ROWS_STEP = 64
"""Texts of similar lengths take equally many rows, a multiple of this: shapes seldom change."""

WEIGHT_TOLERANCE = 1e-6
"""Relative error of the weight of all padding."""


class KVCache:
    """Self-attention keys and values of all layers, for one session.

    Rows of the batch are its rollouts, those of the prompt first and those of the negative prompt behind
    them; they share one timeline. Every call of the transformer follows one protocol:

    1. `begin(start)` opens a call for the frames from `start` on: frame 0 alone, later a whole block. A call
       may dream more frames behind them.
    2. `attention(layer)`, called in every layer, puts the call's keys and values behind the stored frames
       and attends to all: the stored frames and the call's own, at most `window_frames` of them, then its
       action and state tokens.
    3. `commit(start)` keeps the frames of the call, never those that it dreams, its actions and its states.
       Without it the next `begin` of the same frames overwrites them: that is how a block is denoised over
       and over against the same history, and how the rows are filled one after the other.

    Keys are stored after normalisation and rotation. When the window is full, `begin` moves the newest
    frames to the front to make room. Storage is allocated once and keeps its address through `begin`,
    `commit` and `reset`; all positions are Python integers.

    Args:
        config: Sizes of the transformer.
        batch: Number of rows B.
        tokens_per_frame: Tokens of a latent frame.
        device: Where the storage lies.
        dtype: Its dtype.
        heads: Number of heads N that are stored; by default all.
        float8: Whether they are stored as float8, with a scale per token and head.
    """

    def __init__(
        self,
        config: TransformerConfig,
        batch: int,
        tokens_per_frame: int,
        device: torch.device,
        dtype: torch.dtype,
        heads: int | None = None,
        float8: bool = False,
    ) -> None:
        self.window_frames = config.window_frames
        self.tokens_per_frame = tokens_per_frame
        self._block_frames = config.num_frame_per_block
        extra = config.num_action_per_block + config.num_state_per_block
        tokens = self.window_frames * tokens_per_frame + extra
        shape = (config.num_layers, 2, batch, tokens, heads or config.num_heads, config.head_dim)
        self.storage = torch.zeros(shape, device=device, dtype=FLOAT8 if float8 else dtype)
        self._scales = torch.zeros(*shape[:-1], 1, device=device) if float8 else None
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self.next_frame = 0
        """Index of the first frame that is not stored yet."""
        self.frames = 0
        """Number of stored frames."""
        self._open: int | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it takes [bytes]."""
        return self.storage.nbytes + (0 if self._scales is None else self._scales.nbytes)

    @property
    def stored(self) -> Tensor:
        """View of what is stored: (layers, 2 for keys and values, B, tokens, N, D)."""
        return self.storage[:, :, :, : self.frames * self.tokens_per_frame]

    def frames_from(self, start: int) -> int:
        """Number of frames of a call that begins at `start`."""
        return 1 if start == 0 else self._block_frames

    def begin(self, start: int, dreams: bool = False) -> int:
        """Open a call for the frames from `start` on and return their number.

        Args:
            start: The first frame.
            dreams: Whether the call dreams the block behind these frames, too.

        Raises:
            ValueError: If `start` is not the frame that follows the stored ones.
        """
        if start != self.next_frame:
            raise ValueError(
                f"cache out of order: begin at frame {start}, expected frame {self.next_frame}; "
                "commit the frames before it, or reset the cache to start anew at frame 0"
            )
        count = self.frames_from(start)
        surplus = self.frames + count + (self._block_frames if dreams else 0) - self.window_frames
        if surplus > 0:
            self._drop_oldest(surplus)
        self._open = start
        return count

    def attention(
        self, layer: int, rows: slice = ALL_ROWS, observed: int = 0, isolated: int = 0
    ) -> CachedAttention:
        """Self attention of the open call in one layer.

        Args:
            layer: The layer.
            rows: Rows of the batch that the call computes.
            observed: Tokens of observed frames in a call that dreams others behind them.
            isolated: Tokens at the end that attend to themselves only.
        """
        assert self._open is not None, "attention to a cache without an open call; call begin first"
        keys, values = self.storage[layer]
        stored = self.frames * self.tokens_per_frame
        if self._scales is None:
            return CachedAttention(keys[rows], values[rows], stored, observed, isolated)
        key_scales, value_scales = self._scales[layer]
        return Float8Attention(
            keys[rows],
            values[rows],
            stored,
            observed,
            isolated,
            key_scales=key_scales[rows],
            value_scales=value_scales[rows],
        )

    def commit(self, start: int) -> None:
        """Keep the frames of the call that was opened at `start`.

        Raises:
            ValueError: If no call is open at `start`.
        """
        if start != self._open:
            raise ValueError(
                f"cache out of order: commit at frame {start}, but the open call is at {self._open}; "
                "call begin first"
            )
        count = self.frames_from(start)
        self.frames += count
        self.next_frame += count
        self._open = None

    def _drop_oldest(self, frames: int) -> None:
        first = frames * self.tokens_per_frame
        last = self.frames * self.tokens_per_frame
        for held in [self.storage] if self._scales is None else [self.storage, self._scales]:
            for layer in held:
                layer[:, :, : last - first] = layer[:, :, first:last].clone()
        self.frames -= frames


class LayerContext(NamedTuple):
    """What a layer attends to by cross attention."""

    image: Tensor
    """Keys and values of image tokens, (2, B, image_tokens, N, D)."""
    text: Tensor
    """Keys and values of the text, (2, B, rows, N, D)."""
    logits: Tensor | None = None
    """Added to the logits of the text's rows, (B, 1, 1, rows); None: nothing."""


class ContextCache:
    """Cross-attention keys and values of all layers, for one session.

    They depend on the text and the image tokens only, so they are computed once per prompt and image: image
    tokens first, text behind them. Rows of the batch are those of `KVCache`. The storage keeps its address.

    Args:
        config: Sizes of the transformer.
        batch: Number of rows B.
        device: Where the storage lies.
        dtype: Its dtype.
    """

    def __init__(
        self, config: TransformerConfig, batch: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        rows = config.image_tokens + config.text_len
        shape = (config.num_layers, 2, batch, rows, config.num_heads, config.head_dim)
        self.storage = torch.zeros(shape, device=device, dtype=dtype)
        self._image_tokens = config.image_tokens
        self._logits = torch.zeros(batch, 1, 1, config.text_len, device=device, dtype=dtype)
        self._needed = [0] * batch

    @property
    def merged_rows(self) -> int:
        """Rows of the text that layers attend to where padding is merged, otherwise 0."""
        return max(self._needed)

    def layer(self, layer: int, rows: slice = ALL_ROWS) -> LayerContext:
        """What one layer attends to."""
        image, text = self.storage[layer, :, rows].tensor_split([self._image_tokens], dim=2)
        needed = self.merged_rows
        if not needed:
            return LayerContext(image, text)
        return LayerContext(image, text[:, :, :needed], self._logits[rows, ..., :needed])

    def image(self, layer: int) -> Tensor:
        """Keys and values of the image tokens in all rows, to be filled."""
        return self.storage[layer, :, :, : self._image_tokens]

    def text(self, layer: int, rows: slice = ALL_ROWS) -> Tensor:
        """Keys and values of the text, to be filled."""
        return self.storage[layer, :, rows, self._image_tokens :]

    def merge_padding(self, tokens: Sequence[int], rows: slice = ALL_ROWS) -> None:
        """Let a few rows of padding stand for all, which are alike.

        Args:
            tokens: Number of tokens that are no padding, of every text or of one for all.
            rows: Rows of the cache.
        """
        logits = self._logits[rows]
        text_len = logits.shape[-1]
        for index, row in zip(range(len(self._needed))[rows], range(len(logits)), strict=True):
            count = tokens[row % len(tokens)]
            stand_ins = padding_logits(text_len - count, logits.dtype)
            end = count + len(stand_ins)
            logits[row, ..., :count] = 0
            logits[row, ..., count:end] = torch.tensor(stand_ins, device=logits.device)
            logits[row, ..., end:] = -torch.inf
            self._needed[index] = min(-(-end // ROWS_STEP) * ROWS_STEP, text_len)


def padding_logits(count: int, dtype: torch.dtype) -> list[float]:
    """Return logits of a few rows that weigh as much together as `count` equal rows with logits 0.

    Their exponentials add up to `count` within `WEIGHT_TOLERANCE`, whatever the steps of the dtype. Where
    that took as many rows as there are, all stay as they are.
    """
    logits: list[float] = []
    missing = float(count)
    while missing > WEIGHT_TOLERANCE * count:
        logit = torch.tensor(math.log(missing), dtype=dtype)
        if logit.double().exp() > missing:
            logit = torch.nextafter(logit, torch.tensor(-torch.inf, dtype=dtype))
        logits.append(float(logit))
        missing -= math.exp(logits[-1])
    return logits if len(logits) < count else [0.0] * count
