# SPDX-License-Identifier: Apache-2.0
"""How much memory a model takes, without taking it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dreamzero_ros.engine.assembly import empty_engine, parts, resting_place
from dreamzero_ros.engine.cache import ContextCache, KVCache
from dreamzero_ros.engine.config import LinearFormat, ModelConfig
from dreamzero_ros.engine.encoders import BYTES, load_tokenizer
from dreamzero_ros.engine.linear_format import recipe, stored_bytes

META = torch.device("meta")


@dataclass(frozen=True)
class Memory:
    """What stays allocated on the device as long as an engine serves one session [bytes]."""

    weights: int
    """Transformer, encoders and autoencoder, less what rests in main memory."""
    caches: int
    """Keys and values of every branch of guidance."""

    @property
    def total(self) -> int:
        """Both; what a call needs in between comes on top."""
        return self.weights + self.caches


def needed_memory(
    config: ModelConfig,
    dtype: torch.dtype,
    guided: bool,
    heads: int | None = None,
    *,
    linear_format: LinearFormat = "native",
    offload_text: bool = False,
    float8_cache: bool = False,
) -> Memory:
    """Add up weights and caches of an engine and one session on a device.

    Args:
        config: Sizes of the model.
        dtype: Type of the weights.
        guided: Whether the negative prompt is computed there too, with caches of its own.
        heads: Heads of self attention that are computed there; None: all.
        linear_format: How the large linear layers of the transformer are stored.
        offload_text: Whether the text encoder rests in main memory.
        float8_cache: Whether stored keys and values are float8.

    Raises:
        ValueError: If torchao is missing for the linear format.
    """
    engine = empty_engine(config, load_tokenizer(BYTES), META, dtype, linear_format, offload_text)
    weights = sum(
        stored_bytes(convert(name, parameter.to(dtype)))
        for part in parts(engine)
        if resting_place(engine, part) == META
        for convert in [recipe(linear_format if part is engine.transformer else "native", META, dtype)]
        for name, parameter in part.named_parameters()
    )
    frames = KVCache(config.transformer, 1, config.tokens_per_frame, META, dtype, heads, float8_cache)
    context = ContextCache(config.transformer, 1, META, dtype)
    branch = frames.nbytes + context.storage.nbytes
    return Memory(weights=weights, caches=branch * (2 if guided else 1))
