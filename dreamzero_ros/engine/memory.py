# SPDX-License-Identifier: Apache-2.0
"""How much memory a model takes, without taking it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dreamzero_ros.engine.assembly import empty_engine, parts
from dreamzero_ros.engine.cache import ContextCache, KVCache
from dreamzero_ros.engine.config import ModelConfig
from dreamzero_ros.engine.encoders import BYTES, load_tokenizer

META = torch.device("meta")


@dataclass(frozen=True)
class Memory:
    """What stays allocated as long as an engine serves one session [bytes]."""

    weights: int
    """Transformer, encoders and autoencoder."""
    caches: int
    """Keys and values of every branch of guidance."""

    @property
    def total(self) -> int:
        """Both; what a call needs in between comes on top."""
        return self.weights + self.caches


def needed_memory(config: ModelConfig, dtype: torch.dtype, guided: bool, heads: int | None = None) -> Memory:
    """Add up weights and caches of an engine and one session on a device.

    Args:
        config: Sizes of the model.
        dtype: Type of the weights.
        guided: Whether the negative prompt is computed there too, with caches of its own.
        heads: Heads of self attention that are computed there; None: all.
    """
    engine = empty_engine(config, load_tokenizer(BYTES), META, dtype)
    elements = sum(parameter.numel() for module in parts(engine) for parameter in module.parameters())
    frames = KVCache(config.transformer, 1, config.tokens_per_frame, META, dtype, heads)
    context = ContextCache(config.transformer, 1, META, dtype)
    branch = frames.storage.nbytes + context.storage.nbytes
    return Memory(weights=elements * dtype.itemsize, caches=branch * (2 if guided else 1))
