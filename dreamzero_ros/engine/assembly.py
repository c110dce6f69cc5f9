# SPDX-License-Identifier: Apache-2.0
"""Engines without weights, and how their parameters get some.

An engine is built on the meta device, where it has shapes and no memory; then each parameter is given a
tensor that is already on its device and of its type. So memory never holds more than one model and one
tensor, and nothing is drawn at random only to be overwritten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dreamzero_ros.engine.config import ModelConfig
from dreamzero_ros.engine.encoders import ImageEncoder, TextEncoder
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.key_map import Place, image_places, text_places, transformer_places, vae_places
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.vae import VideoVae


def empty_engine(config: ModelConfig, tokenizer: Any, device: torch.device, dtype: torch.dtype) -> Engine:
    """Return an engine whose parameters are on the meta device and whose constants are on `device`.

    Args:
        config: Sizes of the model.
        tokenizer: Tokenizer of `transformers`.
        device: Where the parameters will be.
        dtype: Type that they will have.
    """
    with torch.device("meta"):
        engine = Engine(
            config=config,
            transformer=WorldActionTransformer(config.transformer),
            text_encoder=TextEncoder(config.text, config.transformer.text_len, tokenizer),
            image_encoder=ImageEncoder(config.image),
            vae=VideoVae(config.vae),
            device=device,
            dtype=dtype,
            source="no weights",
        )
    for module in parts(engine):
        module.eval().requires_grad_(False)
        for child in module.modules():
            for name, constant in child.named_buffers(recurse=False):
                setattr(child, name, constant.to(device))
    return engine


def parts(engine: Engine) -> tuple[nn.Module, ...]:
    """Return the modules of an engine in the order of a checkpoint."""
    return (engine.transformer, engine.text_encoder, engine.image_encoder, engine.vae)


def places(engine: Engine) -> tuple[Mapping[str, Place], ...]:
    """Return, for each of `parts`, where its parameters stand in a checkpoint, by parameter name."""
    return (
        transformer_places(engine.transformer),
        text_places(engine.text_encoder),
        image_places(engine.image_encoder),
        vae_places(engine.vae, engine.config.vae.kwargs),
    )


class Slots:
    """The parameters of a module, to be given their tensors; one that has several names is given once."""

    def __init__(self, module: nn.Module) -> None:
        self._owners: dict[nn.Parameter, list[tuple[nn.Module, str]]] = defaultdict(list)
        for child in module.modules():
            for name, parameter in child.named_parameters(recurse=False, remove_duplicate=False):
                self._owners[parameter].append((child, name))
        self._parameters = dict(module.named_parameters())

    def shapes(self) -> dict[str, torch.Size]:
        """Return the shape of every parameter by name."""
        return {name: parameter.shape for name, parameter in self._parameters.items()}

    def put(self, name: str, value: Tensor) -> None:
        """Make `value` the parameter of that name, in the parameter's shape."""
        old = self._parameters[name]
        new = nn.Parameter(value.reshape(old.shape), requires_grad=False)
        for owner, attribute in self._owners[old]:
            setattr(owner, attribute, new)
