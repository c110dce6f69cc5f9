# SPDX-License-Identifier: Apache-2.0
"""Engines without weights, and how their parameters get some.

An engine is built on the meta device, where it has shapes and no memory; then each parameter is given a
tensor that is already on its device and of its type. So memory never holds more than one model and one
tensor, and nothing is drawn at random only to be overwritten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dreamzero_ros.engine.config import LinearFormat, ModelConfig
from dreamzero_ros.engine.encoders import HOST, ImageEncoder, RandomText, TextEncoder
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.key_map import Place, image_places, text_places, transformer_places, vae_places
from dreamzero_ros.engine.linear_format import recipe
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.vae import VideoVae


def empty_engine(
    config: ModelConfig,
    tokenizer: Any,
    device: torch.device,
    dtype: torch.dtype,
    linear_format: LinearFormat = "native",
    offload_text: bool = False,
    random_text: bool = False,
) -> Engine:
    """Return an engine whose parameters are on the meta device and whose constants are where they will be.

    Args:
        config: Sizes of the model.
        tokenizer: Tokenizer of `transformers`.
        device: Where the parameters will be.
        dtype: Type that they will have.
        linear_format: How the large linear layers of the transformer will be stored and multiplied.
        offload_text: Whether the text encoder will rest in main memory.
        random_text: Whether random embeddings stand in for the text encoder.
    """
    sizes = config.transformer
    with torch.device("meta"):
        engine = Engine(
            config=config,
            transformer=WorldActionTransformer(sizes),
            text_encoder=RandomText(sizes.text_dim, sizes.text_len, tokenizer, dtype)
            if random_text
            else TextEncoder(config.text, sizes.text_len, tokenizer),
            image_encoder=ImageEncoder(config.image),
            vae=VideoVae(config.vae),
            device=device,
            dtype=dtype,
            source="no weights",
            linear_format=linear_format,
            offload_text=offload_text,
        )
    for module in parts(engine):
        module.eval().requires_grad_(False)
        device = resting_place(engine, module)
        for child in module.modules():
            for name, constant in child.named_buffers(recurse=False):
                setattr(child, name, constant.to(device))
    return engine


def parts(engine: Engine) -> tuple[nn.Module, ...]:
    """Return the modules of an engine in the order of a checkpoint."""
    return (engine.transformer, engine.text_encoder, engine.image_encoder, engine.vae)


def resting_place(engine: Engine, part: nn.Module) -> torch.device:
    """Return where the parameters of one of `parts` lie between calls."""
    return HOST if engine.offload_text and part is engine.text_encoder else engine.device


def places(engine: Engine) -> tuple[Mapping[str, Place], ...]:
    """Return, for each of `parts`, where its parameters stand in a checkpoint, by parameter name."""
    return (
        transformer_places(engine.transformer),
        text_places(engine.text_encoder),
        image_places(engine.image_encoder),
        vae_places(engine.vae, engine.config.vae.kwargs),
    )


def all_slots(engine: Engine) -> tuple[Slots, ...]:
    """Return the slots of each of `parts`.

    Raises:
        ValueError: If the device cannot compute in the linear format; says what can be done.
    """
    convert = recipe(engine.linear_format, engine.device, engine.dtype)
    return tuple(
        Slots(part, resting_place(engine, part), convert if part is engine.transformer else None)
        for part in parts(engine)
    )


class Slots:
    """The parameters of a module, to be given their tensors; one that has several names is given once.

    Args:
        module: Its parameters are on the meta device.
        device: Where they will be.
        convert: What becomes of a tensor, by the name of its parameter.
    """

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        convert: Callable[[str, Tensor], Tensor] | None = None,
    ) -> None:
        self.device = device
        self._convert = convert
        self._owners: dict[nn.Parameter, list[tuple[nn.Module, str]]] = defaultdict(list)
        for child in module.modules():
            for name, parameter in child.named_parameters(recurse=False, remove_duplicate=False):
                self._owners[parameter].append((child, name))
        self._parameters = dict(module.named_parameters())

    def shapes(self) -> dict[str, torch.Size]:
        """Return the shape of every parameter by name."""
        return {name: parameter.shape for name, parameter in self._parameters.items()}

    def put(self, name: str, value: Tensor) -> None:
        """Make `value`, which is on the device, the parameter of that name, in the parameter's shape."""
        old = self._parameters[name]
        value = value.reshape(old.shape)
        new = nn.Parameter(self._convert(name, value) if self._convert else value, requires_grad=False)
        for owner, attribute in self._owners[old]:
            setattr(owner, attribute, new)
