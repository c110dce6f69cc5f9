# SPDX-License-Identifier: Apache-2.0
"""The large variants have exactly the tensors of the reference release: every name, every shape, every count.

The expected names and shapes are written out here by rule, from the layers of the release; nothing of them
comes from the package.
"""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from dreamzero_ros.engine.assembly import parts, places
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.weights import meta_engine

pytestmark = pytest.mark.cpu

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def conv(name: str, outputs: int, inputs: int, *kernel: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, *kernel), f"{name}.bias": (outputs,)}


def category(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.W": (1, inputs, outputs), f"{name}.b": (1, outputs)}


def transformer(dim: int, layers: int, ffn: int, in_dim: int, out_dim: int) -> Shapes:
    shapes = conv("patch_embedding", dim, in_dim, 1, 2, 2)
    shapes |= linear("text_embedding.0", dim, 4096) | linear("text_embedding.2", dim, dim)
    shapes |= linear("time_embedding.0", dim, 256) | linear("time_embedding.2", dim, dim)
    shapes |= linear("time_projection.1", 6 * dim, dim)
    shapes |= norm("img_emb.proj.0", 1280) | linear("img_emb.proj.1", 1280, 1280)
    shapes |= linear("img_emb.proj.3", dim, 1280) | norm("img_emb.proj.4", dim)
    for n in range(layers):
        block = f"blocks.{n}"
        shapes[f"{block}.modulation"] = (1, 6, dim)
        for attention, extra in (("self_attn", ""), ("cross_attn", "k_img v_img")):
            for name in ("q k v o " + extra).split():
                shapes |= linear(f"{block}.{attention}.{name}", dim, dim)
            for name in ("norm_q", "norm_k"):
                shapes[f"{block}.{attention}.{name}.weight"] = (dim,)
        shapes[f"{block}.cross_attn.norm_k_img.weight"] = (dim,)
        shapes |= norm(f"{block}.norm3", dim)
        shapes |= linear(f"{block}.ffn.0", ffn, dim) | linear(f"{block}.ffn.2", dim, ffn)
    shapes |= {"head.modulation": (1, 2, dim)} | linear("head.head", 4 * out_dim, dim)
    shapes |= category("state_encoder.layer1", 64, 1024) | category("state_encoder.layer2", 1024, dim)
    shapes |= category("action_encoder.W1", 32, dim) | category("action_encoder.W2", 2 * dim, dim)
    shapes |= category("action_encoder.W3", dim, dim)
    shapes |= category("action_decoder.layer1", dim, 1024) | category("action_decoder.layer2", 1024, 32)
    return {f"action_head.model.{name}": shape for name, shape in shapes.items()}


def text_encoder() -> Shapes:
    shapes: Shapes = {"token_embedding.weight": (256384, 4096), "norm.weight": (4096,)}
    for n in range(24):
        block = f"blocks.{n}"
        shapes |= {f"{block}.norm1.weight": (4096,), f"{block}.norm2.weight": (4096,)}
        shapes |= {f"{block}.attn.{name}.weight": (4096, 4096) for name in "qkvo"}
        shapes |= {f"{block}.ffn.{name}.weight": (10240, 4096) for name in ("gate.0", "fc1")}
        shapes[f"{block}.ffn.fc2.weight"] = (4096, 10240)
        shapes[f"{block}.pos_embedding.embedding.weight"] = (32, 64)
    return {f"action_head.text_encoder.{name}": shape for name, shape in shapes.items()}


def image_encoder() -> Shapes:
    width = 1280
    shapes: Shapes = {
        "log_scale": (),
        "visual.cls_embedding": (1, 1, width),
        "visual.pos_embedding": (1, 257, width),
        "visual.head": (width, 1024),
        "visual.patch_embedding.weight": (width, 3, 14, 14),
    }
    shapes |= norm("visual.pre_norm", width) | norm("visual.post_norm", width)
    for n in range(32):
        block = f"visual.transformer.{n}"
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= linear(f"{block}.attn.to_qkv", 3 * width, width) | linear(
            f"{block}.attn.proj", width, width
        )
        shapes |= linear(f"{block}.mlp.0", 4 * width, width) | linear(f"{block}.mlp.2", width, 4 * width)
    return {f"action_head.image_encoder.model.{name}": shape for name, shape in shapes.items()}


def residual(name: str, inputs: int, outputs: int) -> Shapes:
    shapes: Shapes = {f"{name}.residual.0.gamma": (inputs, 1, 1, 1)}
    shapes |= conv(f"{name}.residual.2", outputs, inputs, 3, 3, 3)
    shapes |= {f"{name}.residual.3.gamma": (outputs, 1, 1, 1)}
    shapes |= conv(f"{name}.residual.6", outputs, outputs, 3, 3, 3)
    return shapes if inputs == outputs else shapes | conv(f"{name}.shortcut", outputs, inputs, 1, 1, 1)


def middle(name: str, width: int) -> Shapes:
    shapes = residual(f"{name}.0", width, width) | residual(f"{name}.2", width, width)
    shapes |= {f"{name}.1.norm.gamma": (width, 1, 1)}
    return (
        shapes | conv(f"{name}.1.to_qkv", 3 * width, width, 1, 1) | conv(f"{name}.1.proj", width, width, 1, 1)
    )


def ends(side: str, first: tuple[int, int], last: tuple[int, int]) -> Shapes:
    shapes = conv(f"{side}.conv1", first[1], first[0], 3, 3, 3)
    shapes |= {f"{side}.head.0.gamma": (last[0], 1, 1, 1)}
    return shapes | conv(f"{side}.head.2", last[1], last[0], 3, 3, 3)


def vae_wan21() -> Shapes:
    shapes = conv("conv1", 32, 32, 1, 1, 1) | conv("conv2", 16, 16, 1, 1, 1)
    shapes |= ends("encoder", (3, 96), (384, 32)) | middle("encoder.middle", 384)
    index, inputs = 0, 96
    for level, width in enumerate((96, 192, 384, 384)):
        for _ in range(2):
            shapes |= residual(f"encoder.downsamples.{index}", inputs, width)
            index, inputs = index + 1, width
        if level < 3:
            shapes |= conv(f"encoder.downsamples.{index}.resample.1", width, width, 3, 3)
            if level > 0:
                shapes |= conv(f"encoder.downsamples.{index}.time_conv", width, width, 3, 1, 1)
            index += 1
    shapes |= ends("decoder", (16, 384), (96, 3)) | middle("decoder.middle", 384)
    index = 0
    for level, (inputs, width) in enumerate(((384, 384), (192, 384), (192, 192), (96, 96))):
        for unit in range(3):
            shapes |= residual(f"decoder.upsamples.{index}", width if unit else inputs, width)
            index += 1
        if level < 3:
            shapes |= conv(f"decoder.upsamples.{index}.resample.1", width // 2, width, 3, 3)
            if level < 2:
                shapes |= conv(f"decoder.upsamples.{index}.time_conv", 2 * width, width, 3, 1, 1)
            index += 1
    return {f"action_head.vae.model.{name}": shape for name, shape in shapes.items()}


def vae_wan22() -> Shapes:
    shapes = conv("conv1", 96, 96, 1, 1, 1) | conv("conv2", 48, 48, 1, 1, 1)
    shapes |= ends("encoder", (12, 160), (640, 96)) | middle("encoder.middle", 640)
    inputs = 160
    for level, width in enumerate((160, 320, 640, 640)):
        here = f"encoder.downsamples.{level}.downsamples"
        shapes |= residual(f"{here}.0", inputs, width) | residual(f"{here}.1", width, width)
        inputs = width
        if level < 3:
            shapes |= conv(f"{here}.2.resample.1", width, width, 3, 3)
            if level > 0:
                shapes |= conv(f"{here}.2.time_conv", width, width, 3, 1, 1)
    shapes |= ends("decoder", (48, 1024), (256, 12)) | middle("decoder.middle", 1024)
    inputs = 1024
    for level, width in enumerate((1024, 1024, 512, 256)):
        here = f"decoder.upsamples.{level}.upsamples"
        for unit in range(3):
            shapes |= residual(f"{here}.{unit}", width if unit else inputs, width)
        inputs = width
        if level < 3:
            shapes |= conv(f"{here}.3.resample.1", width, width, 3, 3)
            if level < 2:
                shapes |= conv(f"{here}.3.time_conv", 2 * width, width, 3, 1, 1)
    return {f"action_head.vae.model.{name}": shape for name, shape in shapes.items()}


EXPECTED = {
    "wan21_14b": (transformer(5120, 40, 13824, 36, 16), text_encoder(), image_encoder(), vae_wan21()),
    "wan22_5b": (transformer(3072, 30, 14336, 48, 48), text_encoder(), image_encoder(), vae_wan22()),
}
COUNTS = {
    "wan21_14b": ((1317, 16_484_292_448), (242, 5_680_910_336), (393, 632_076_801), (194, 126_892_531)),
    "wan22_5b": ((997, 5_606_692_832), (242, 5_680_910_336), (393, 632_076_801), (196, 704_688_668)),
}
TOTALS = {"wan21_14b": 2146, "wan22_5b": 1828}


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def large(request: pytest.FixtureRequest) -> Engine:
    return meta_engine(request.param)


def test_every_tensor_has_the_name_and_shape_of_the_release(large: Engine) -> None:
    for expected, table in zip(EXPECTED[large.config.name], places(large), strict=True):
        assert {place.key: place.shape for place in table.values()} == expected


def test_the_numbers_of_tensors_and_of_their_values_are_those_of_the_release(large: Engine) -> None:
    found = []
    for module, table in zip(parts(large), places(large), strict=True):
        shapes = {place.key: place.shape for place in table.values()}
        assert sum(parameter.numel() for parameter in module.parameters()) == sum(
            math.prod(shape) for shape in shapes.values()
        )
        found.append((len(shapes), sum(parameter.numel() for parameter in module.parameters())))
    assert tuple(found) == COUNTS[large.config.name]
    assert sum(tensors for tensors, _ in found) == TOTALS[large.config.name]


def test_no_parameter_is_left_without_a_place(large: Engine) -> None:
    for module, table in zip(parts(large), places(large), strict=True):
        assert set(table) == {name for name, _ in module.named_parameters()}


@pytest.mark.slow
def test_a_large_variant_on_the_meta_device_takes_no_memory() -> None:
    """In a process of its own, because memory is counted at its peak; the weights would take 92 GB."""
    code = (
        "from dreamzero_ros.engine.weights import meta_engine; import re, pathlib; meta_engine('wan21_14b');"
        "print(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2e9


SAME_PLACE = [
    # text encoder: its norms, and its two gates, have the same shape
    (1, "model.shared.weight", "token_embedding.weight"),
    (1, "model.encoder.final_layer_norm.weight", "norm.weight"),
    (1, "model.encoder.block.3.layer.0.SelfAttention.v.weight", "blocks.3.attn.v.weight"),
    (1, "model.encoder.block.3.layer.0.layer_norm.weight", "blocks.3.norm1.weight"),
    (1, "model.encoder.block.3.layer.1.layer_norm.weight", "blocks.3.norm2.weight"),
    (1, "model.encoder.block.3.layer.1.DenseReluDense.wi_0.weight", "blocks.3.ffn.gate.0.weight"),
    (1, "model.encoder.block.3.layer.1.DenseReluDense.wi_1.weight", "blocks.3.ffn.fc1.weight"),
    (1, "model.encoder.block.3.layer.1.DenseReluDense.wo.weight", "blocks.3.ffn.fc2.weight"),
    # image encoder
    (2, "model.pre_layrnorm.bias", "visual.pre_norm.bias"),
    (2, "model.post_layernorm.bias", "visual.post_norm.bias"),
    (2, "model.encoder.layers.7.layer_norm1.weight", "visual.transformer.7.norm1.weight"),
    (2, "model.encoder.layers.7.layer_norm2.weight", "visual.transformer.7.norm2.weight"),
    (2, "model.encoder.layers.7.self_attn.out_proj.bias", "visual.transformer.7.attn.proj.bias"),
    (2, "model.encoder.layers.7.mlp.fc1.weight", "visual.transformer.7.mlp.0.weight"),
    # autoencoder, both kinds
    (3, "model.quant_conv.weight", "conv1.weight"),
    (3, "model.post_quant_conv.weight", "conv2.weight"),
    (3, "model.encoder.conv_in.bias", "encoder.conv1.bias"),
    (3, "model.encoder.norm_out.gamma", "encoder.head.0.gamma"),
    (3, "model.encoder.conv_out.bias", "encoder.head.2.bias"),
    (3, "model.encoder.mid_block.resnets.0.norm1.gamma", "encoder.middle.0.residual.0.gamma"),
    (3, "model.encoder.mid_block.resnets.0.norm2.gamma", "encoder.middle.0.residual.3.gamma"),
    (3, "model.decoder.mid_block.resnets.1.conv1.weight", "decoder.middle.2.residual.2.weight"),
    (3, "model.decoder.mid_block.resnets.1.conv2.weight", "decoder.middle.2.residual.6.weight"),
    (3, "model.decoder.mid_block.attentions.0.to_qkv.weight", "decoder.middle.1.to_qkv.weight"),
]
SAME_PLACE_WAN21 = [
    (3, "model.encoder.down_blocks.4.conv2.bias", "encoder.downsamples.4.residual.6.bias"),
    (3, "model.encoder.down_blocks.5.time_conv.bias", "encoder.downsamples.5.time_conv.bias"),
    (3, "model.decoder.up_blocks.0.resnets.2.conv1.bias", "decoder.upsamples.2.residual.2.bias"),
    (3, "model.decoder.up_blocks.1.resnets.0.conv_shortcut.weight", "decoder.upsamples.4.shortcut.weight"),
    (3, "model.decoder.up_blocks.1.upsamplers.0.time_conv.weight", "decoder.upsamples.7.time_conv.weight"),
    (3, "model.decoder.up_blocks.3.resnets.2.norm2.gamma", "decoder.upsamples.14.residual.3.gamma"),
]
SAME_PLACE_WAN22 = [
    (
        3,
        "model.encoder.down_blocks.2.resnets.1.norm1.gamma",
        "encoder.downsamples.2.downsamples.1.residual.0.gamma",
    ),
    (
        3,
        "model.encoder.down_blocks.2.downsampler.time_conv.bias",
        "encoder.downsamples.2.downsamples.2.time_conv.bias",
    ),
    (3, "model.decoder.up_blocks.1.resnets.2.conv2.bias", "decoder.upsamples.1.upsamples.2.residual.6.bias"),
    (
        3,
        "model.decoder.up_blocks.1.upsampler.resample.1.bias",
        "decoder.upsamples.1.upsamples.3.resample.1.bias",
    ),
]
PREFIXES = (
    "action_head.model.",
    "action_head.text_encoder.",
    "action_head.image_encoder.model.",
    "action_head.vae.model.",
)


def test_tensors_of_one_shape_are_not_confused(large: Engine) -> None:
    """A swap of, say, the two norms of a block would keep all names and all shapes."""
    own = SAME_PLACE_WAN21 if large.config.name == "wan21_14b" else SAME_PLACE_WAN22
    tables = places(large)
    found = [(part, name, tables[part][name].key) for part, name, _ in SAME_PLACE + own]
    assert found == [(part, name, PREFIXES[part] + key) for part, name, key in SAME_PLACE + own]


def test_query_key_and_value_stand_below_each_other(large: Engine) -> None:
    table = places(large)[2]
    for part, name in enumerate("qkv"):
        place = table[f"model.encoder.layers.5.self_attn.{name}_proj.weight"]
        assert (place.part, place.parts) == (part, 3)
        assert place.key == "action_head.image_encoder.model.visual.transformer.5.attn.to_qkv.weight"
