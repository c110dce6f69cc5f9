# SPDX-License-Identifier: Apache-2.0
"""Names of the reference release's tensors for the parameters of this engine.

A checkpoint of the reference release is one dictionary: each component has a prefix, and below it the names
of the release's own classes. The transformer here uses these names as they are; text encoder, image encoder
and autoencoder are classes of `transformers` and `diffusers`, whose names are translated by the rules below,
in one direction only: from a parameter here to its place there. Reading and writing both follow from that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

TRANSFORMER = "action_head.model."
TEXT_ENCODER = "action_head.text_encoder."
IMAGE_ENCODER = "action_head.image_encoder.model."
VAE = "action_head.vae.model."

Rules = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Place:
    """Where a parameter stands in a checkpoint."""

    key: str
    """Name of the tensor."""
    shape: tuple[int, ...]
    """Shape of the tensor."""
    part: int = 0
    """Which of `parts` equal groups of rows of the tensor is the parameter."""
    parts: int = 1


_TEXT_BLOCK = r"^model\.encoder\.block\.(\d+)\."
TEXT_RULES: Rules = (
    (r"^model\.shared\.", r"token_embedding."),
    (r"^model\.encoder\.final_layer_norm\.", r"norm."),
    (
        _TEXT_BLOCK + r"layer\.0\.SelfAttention\.relative_attention_bias\.",
        r"blocks.\1.pos_embedding.embedding.",
    ),
    (_TEXT_BLOCK + r"layer\.0\.SelfAttention\.([qkvo])\.", r"blocks.\1.attn.\2."),
    (_TEXT_BLOCK + r"layer\.0\.layer_norm\.", r"blocks.\1.norm1."),
    (_TEXT_BLOCK + r"layer\.1\.layer_norm\.", r"blocks.\1.norm2."),
    (_TEXT_BLOCK + r"layer\.1\.DenseReluDense\.wi_0\.", r"blocks.\1.ffn.gate.0."),
    (_TEXT_BLOCK + r"layer\.1\.DenseReluDense\.wi_1\.", r"blocks.\1.ffn.fc1."),
    (_TEXT_BLOCK + r"layer\.1\.DenseReluDense\.wo\.", r"blocks.\1.ffn.fc2."),
)

IMAGE_RULES: Rules = (
    (r"^head$", r"visual.head"),
    (r"^model\.embeddings\.class_embedding$", r"visual.cls_embedding"),
    (r"^model\.embeddings\.position_embedding\.weight$", r"visual.pos_embedding"),
    (r"^model\.embeddings\.patch_embedding\.", r"visual.patch_embedding."),
    (r"^model\.pre_layrnorm\.", r"visual.pre_norm."),
    (r"^model\.post_layernorm\.", r"visual.post_norm."),
    (r"^model\.encoder\.layers\.(\d+)\.", r"visual.transformer.\1."),
    (r"\.self_attn\.[qkv]_proj\.", r".attn.to_qkv."),
    (r"\.self_attn\.out_proj\.", r".attn.proj."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.mlp\.fc1\.", r".mlp.0."),
    (r"\.mlp\.fc2\.", r".mlp.2."),
)

_VAE_RULES: Rules = (
    (r"^model\.", r""),
    (r"\.norm1\.", r".residual.0."),
    (r"\.conv1\.", r".residual.2."),
    (r"\.norm2\.", r".residual.3."),
    (r"\.conv2\.", r".residual.6."),
    (r"\.conv_shortcut\.", r".shortcut."),
    (r"^quant_conv\.", r"conv1."),
    (r"^post_quant_conv\.", r"conv2."),
    (r"\.conv_in\.", r".conv1."),
    (r"\.norm_out\.", r".head.0."),
    (r"\.conv_out\.", r".head.2."),
    (r"\.mid_block\.resnets\.0\.", r".middle.0."),
    (r"\.mid_block\.attentions\.0\.", r".middle.1."),
    (r"\.mid_block\.resnets\.1\.", r".middle.2."),
)

_IMAGE_SHAPES = {
    "visual.cls_embedding": (1, 1),
    "visual.pos_embedding": (1,),
}
"""Leading axes of size one that the release has and this engine has not."""


def transformer_places(module: nn.Module) -> dict[str, Place]:
    """Return the place of every parameter of the transformer, by parameter name."""
    return {name: Place(TRANSFORMER + name, tuple(p.shape)) for name, p in module.named_parameters()}


def text_places(module: nn.Module) -> dict[str, Place]:
    """Return the place of every parameter of a `TextEncoder`, by parameter name."""
    return {
        name: Place(TEXT_ENCODER + _apply(TEXT_RULES, name), tuple(p.shape))
        for name, p in module.named_parameters()
    }


def image_places(module: nn.Module) -> dict[str, Place]:
    """Return the place of every parameter of an `ImageEncoder`, by parameter name.

    Query, key and value of a block stand below each other in one tensor of the release.
    """
    places = {}
    for name, parameter in module.named_parameters():
        key = _apply(IMAGE_RULES, name)
        shape = _IMAGE_SHAPES.get(key, ()) + tuple(parameter.shape)
        stacked = re.search(r"\.([qkv])_proj\.", name)
        if stacked:
            shape = (3 * shape[0], *shape[1:])
            places[name] = Place(IMAGE_ENCODER + key, shape, part="qkv".index(stacked[1]), parts=3)
        else:
            places[name] = Place(IMAGE_ENCODER + key, shape)
    return places


def vae_places(module: nn.Module, kwargs: Mapping[str, object]) -> dict[str, Place]:
    """Return the place of every parameter of a `VideoVae`, by parameter name.

    Args:
        module: The autoencoder.
        kwargs: Its arguments of `diffusers.AutoencoderKLWan`.
    """
    units = int(str(kwargs.get("num_res_blocks", 2)))
    nested = bool(kwargs.get("is_residual", False))
    places = {}
    for name, parameter in module.named_parameters():
        key = _vae_levels(_apply(_VAE_RULES, name), units, nested)
        places[name] = Place(VAE + key, tuple(parameter.shape))
    return places


def _apply(rules: Rules, name: str) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _vae_levels(name: str, units: int, nested: bool) -> str:
    """Number the units of the levels: `units` residual units down, one more up, then the resampler.

    Wan2.2 counts within a level, Wan2.1 through all levels (and `diffusers` does so too on the way down).
    """
    if not nested:
        name = re.sub(r"^encoder\.down_blocks\.", "encoder.downsamples.", name)
    level = re.match(
        r"^(en|de)coder\.(down|up)_blocks\.(\d+)\.(?:resnets\.(\d+)|(?:down|up)sampler(?:s\.0)?)\.", name
    )
    if level is None:
        return name
    side, way, index, unit = level.groups()
    length = units + 1 if way == "up" else units
    position = length if unit is None else int(unit)
    if nested:
        here = f"{side}coder.{way}samples.{index}.{way}samples.{position}."
    else:
        here = f"{side}coder.{way}samples.{int(index) * (length + 1) + position}."
    return here + name[level.end() :]
