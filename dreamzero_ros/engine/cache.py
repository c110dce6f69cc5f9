# SPDX-License-Identifier: Apache-2.0
"""Preallocated key/value caches: one grows with the frames of a session, one holds its conditioning."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamzero_ros.engine.config import TransformerConfig


class KVCache:
    """Self-attention keys and values of all layers, for one session and one branch of guidance.

    Every call of the transformer follows one protocol:

    1. `begin(start)` opens a call for the frames from `start` on: frame 0 alone, later a whole block.
    2. `write(layer, k, v)` in every layer puts the call's keys and values behind the stored frames and
       returns all that the call attends to: the stored frames and the call's own, at most `window_frames`
       of them, then its action and state tokens.
    3. `commit(start)` keeps the call's frames (never its actions and states). Without it the next `begin`
       of the same frames overwrites them: that is how a block is denoised over and over against the same
       history.

    Keys are stored after normalisation and rotation. When the window is full, `begin` moves the newest
    frames to the front to make room. Storage is allocated once and keeps its address through `begin`,
    `commit` and `reset`; all positions are Python integers.

    Args:
        config: Sizes of the transformer.
        batch: Number of samples B.
        tokens_per_frame: Tokens of a latent frame.
        device: Where the storage lies.
        dtype: Its dtype.
    """

    def __init__(
        self,
        config: TransformerConfig,
        batch: int,
        tokens_per_frame: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.window_frames = config.window_frames
        self.tokens_per_frame = tokens_per_frame
        self._block_frames = config.num_frame_per_block
        extra = config.num_action_per_block + config.num_state_per_block
        tokens = self.window_frames * tokens_per_frame + extra
        shape = (config.num_layers, 2, batch, tokens, config.num_heads, config.head_dim)
        self.storage = torch.zeros(shape, device=device, dtype=dtype)
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self.next_frame = 0
        """Index of the first frame that is not stored yet."""
        self.frames = 0
        """Number of stored frames."""
        self._open: int | None = None

    @property
    def stored(self) -> Tensor:
        """View of what is stored: (layers, 2 for keys and values, B, tokens, N, D)."""
        return self.storage[:, :, :, : self.frames * self.tokens_per_frame]

    def begin(self, start: int) -> int:
        """Open a call for the frames from `start` on and return their number.

        Raises:
            ValueError: If `start` is not the frame that follows the stored ones.
        """
        if start != self.next_frame:
            raise ValueError(
                f"cache out of order: begin at frame {start}, expected frame {self.next_frame}; "
                "commit the frames before it, or reset the cache to start anew at frame 0"
            )
        count = 1 if start == 0 else self._block_frames
        surplus = self.frames + count - self.window_frames
        if surplus > 0:
            self._drop_oldest(surplus)
        self._open = start
        return count

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put the call's keys and values (B, L, N, D) behind the stored ones; returns all keys and values."""
        assert self._open is not None, "write to a cache without an open call; call begin first"
        first = self.frames * self.tokens_per_frame
        last = first + k.shape[1]
        keys, values = self.storage[layer]
        keys[:, first:last] = k
        values[:, first:last] = v
        return keys[:, :last], values[:, :last]

    def commit(self, start: int) -> None:
        """Keep the frames of the call that was opened at `start`.

        Raises:
            ValueError: If no call is open at `start`.
        """
        if start != self._open:
            raise ValueError(
                f"cache out of order: commit at frame {start}, but the open call is at {self._open}; "
                "call begin and write first"
            )
        count = 1 if start == 0 else self._block_frames
        self.frames += count
        self.next_frame += count
        self._open = None

    def _drop_oldest(self, frames: int) -> None:
        first = frames * self.tokens_per_frame
        last = self.frames * self.tokens_per_frame
        for layer in self.storage:
            layer[:, :, : last - first] = layer[:, :, first:last].clone()
        self.frames -= frames


class ContextCache:
    """Cross-attention keys and values of all layers, for one session and one branch of guidance.

    They depend on the text and the image tokens only, so they are computed once per prompt and image.
    Rows are the image tokens, then the text. The storage keeps its address.

    Args:
        config: Sizes of the transformer.
        batch: Number of samples B.
        device: Where the storage lies.
        dtype: Its dtype.
    """

    def __init__(
        self, config: TransformerConfig, batch: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        rows = config.image_tokens + config.text_len
        shape = (config.num_layers, 2, batch, rows, config.num_heads, config.head_dim)
        self.storage = torch.zeros(shape, device=device, dtype=dtype)
