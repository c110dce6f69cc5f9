# SPDX-License-Identifier: Apache-2.0
"""The transformer against the reference vectors, alone and with the cache."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.cache import ContextCache, KVCache
from dreamzero_ros.engine.config import TransformerConfig, variant
from dreamzero_ros.engine.layers import action_sinusoid, sinusoid
from dreamzero_ros.engine.model import WorldActionTransformer

pytestmark = pytest.mark.cpu

TOLERANCE = {"atol": 5e-5, "rtol": 0}
CPU = torch.device("cpu")


def caches(config, batch, tokens_per_frame):
    return (
        KVCache(config, batch, tokens_per_frame, CPU, torch.float32),
        ContextCache(config, batch, CPU, torch.float32),
    )


def names_of_calls(recorded):
    return list(dict.fromkeys(name.split(".")[0] for name in recorded if name.endswith(".x")))


def run_call(model, recorded, name, cache, context):
    """Run one recorded call; a call without actions is kept in the cache."""
    start = int(recorded[f"{name}.start_frame"])
    inputs = {key: recorded.get(f"{name}.{key}") for key in ("y", "action", "state")}
    cache.begin(start)
    visible = cache.frames + recorded[f"{name}.x"].shape[2]
    times = model.times(
        recorded[f"{name}.timestep"],
        cache.tokens_per_frame,
        recorded.get(f"{name}.timestep_action"),
        model.config.num_state_per_block,
    )
    video, action = model(recorded[f"{name}.x"], times, context, cache, start, **inputs)
    if action is None:
        cache.commit(start)
    return video, action, visible


@torch.no_grad()
def test_cached_calls_equal_the_reference(vectors, reference, transformer):
    recorded = vectors("dit_infer")
    tokens_per_frame = reference["transformer"]["frame_seqlen"]
    cache, context = caches(transformer.config, len(recorded["context"]), tokens_per_frame)
    transformer.fill_text(context, recorded["context"])
    transformer.fill_image(context, recorded["clip_feature"])
    assert transformer.config.window_frames == recorded["e2.window_frames"]
    for name in names_of_calls(recorded):
        video, action, visible = run_call(transformer, recorded, name, cache, context)
        torch.testing.assert_close(video, recorded[f"{name}.video_pred"], **TOLERANCE)
        if action is not None:
            torch.testing.assert_close(action, recorded[f"{name}.action_pred"], **TOLERANCE)
        assert visible * tokens_per_frame == recorded[f"{name}.cache_len"]
        if f"{name}.cache" in recorded:
            torch.testing.assert_close(cache.stored, recorded[f"{name}.cache"], **TOLERANCE)


@torch.no_grad()
def test_submodules_equal_the_reference(vectors, reference, transformer):
    recorded = vectors("dit_infer")
    tokens_per_frame = reference["transformer"]["frame_seqlen"]
    cache, context = caches(transformer.config, len(recorded["context"]), tokens_per_frame)
    outputs = {}
    prefix = "b1.trace."
    traced = [name.removeprefix(prefix) for name in recorded if name.startswith(prefix)]
    handles = [
        transformer.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.update({name: output})
        )
        for name in traced
    ]
    transformer.fill_text(context, recorded["context"])
    transformer.fill_image(context, recorded["clip_feature"])
    run_call(transformer, recorded, "a", cache, context)
    run_call(transformer, recorded, "b1", cache, context)
    for handle in handles:
        handle.remove()

    frames = recorded["b1.x"].shape[2]
    for name in traced:
        output = outputs[name]
        if name.startswith("time_"):  # one row per frame here, one per token there
            of_frames = output[:, :frames].repeat_interleave(tokens_per_frame, dim=1)
            output = torch.cat([of_frames, output[:, frames:]], dim=1)
        expected = recorded[prefix + name]
        torch.testing.assert_close(output.reshape(expected.shape), expected, **TOLERANCE)


@torch.no_grad()
def test_teacher_forcing_equals_the_reference(vectors, transformer):
    recorded = vectors("dit_train")
    inputs = ("x", "clean_x", "timestep", "y", "action", "timestep_action", "state")
    for name in names_of_calls(recorded):
        video, action = transformer.forward_training(
            **{key: recorded[f"{name}.{key}"] for key in inputs},
            text=recorded["context"],
            image=recorded["clip_feature"],
        )
        torch.testing.assert_close(video, recorded[f"{name}.video_pred"], **TOLERANCE)
        torch.testing.assert_close(action, recorded[f"{name}.action_pred"], **TOLERANCE)


def small_config(**changes):
    sizes = {
        "dim": 48,
        "num_layers": 2,
        "num_heads": 3,
        "ffn_dim": 64,
        "in_dim": 4 + 4 + 4,
        "out_dim": 4,
        "text_dim": 8,
        "text_len": 5,
        "image_dim": 8,
        "image_tokens": 4,
        "freq_dim": 16,
        "action_dim": 3,
        "max_state_dim": 5,
        "hidden_size": 16,
        "num_action_per_block": 6,
    }
    return TransformerConfig(**(sizes | changes))


def random_model(config):
    torch.manual_seed(0)
    model = WorldActionTransformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model


@pytest.mark.parametrize(
    ("batch", "changes"),
    [
        (1, {}),
        (2, {"max_chunk_size": 3}),
        (2, {"num_frame_per_block": 3, "num_state_per_block": 2}),
        (1, {"num_frame_per_block": 1}),
        (1, {"in_dim": 4, "concat_first_frame_latent": False}),
    ],
)
@torch.no_grad()
def test_replaying_a_clip_with_the_cache_equals_teacher_forcing(batch, changes):
    """Prefill clean frames, denoise each block against them: equal once states see only themselves."""
    config = small_config(**changes)
    model = random_model(config)
    blocks, size, height, width = config.max_chunk_size, config.num_frame_per_block, 4, 6
    frames, actions, states = 1 + blocks * size, config.num_action_per_block, config.num_state_per_block
    x, clean = torch.randn(2, batch, config.out_dim, frames, height, width).unbind()
    y = torch.randn(batch, 4 + config.out_dim, frames, height, width)
    timestep = torch.rand(batch, 1 + blocks).mul(1000)
    timestep = timestep[:, [0] + [1 + block for block in range(blocks) for _ in range(size)]]
    action = torch.randn(batch, blocks * actions, config.action_dim)
    timestep_action = torch.rand(batch, blocks * actions).mul(1000)
    state = torch.randn(batch, blocks * states, config.max_state_dim)
    text = torch.randn(batch, config.text_len, config.text_dim)
    image = torch.randn(batch, config.image_tokens, config.image_dim)
    video_flow, action_flow = model.forward_training(
        x, clean, timestep, text, image, y, action, timestep_action, state
    )

    cache, context = caches(config, batch, (height // 2) * (width // 2))
    model.fill_text(context, text)
    model.fill_image(context, image)

    def prefill(start):
        part = slice(start, start + cache.begin(start))
        times = model.times(torch.zeros_like(timestep[:, part]), cache.tokens_per_frame)
        model(clean[:, :, part], times, context, cache, start, y[:, :, part])
        cache.commit(start)

    prefill(0)
    for block in range(blocks):
        start = 1 + block * size
        part = slice(start, start + cache.begin(start))
        of_actions = slice(block * actions, (block + 1) * actions)
        of_states = slice(block * states, (block + 1) * states)
        times = model.times(timestep[:, part], cache.tokens_per_frame, timestep_action[:, of_actions], states)
        inputs = (x[:, :, part], times, context, cache, start, y[:, :, part])
        inputs += (action[:, of_actions], state[:, of_states])
        video, predicted = model(*inputs, isolate_state=True)
        torch.testing.assert_close(video, video_flow[:, :, part], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(predicted, action_flow[:, of_actions], atol=1e-5, rtol=1e-5)
        _, seen = model(*inputs)
        assert (seen - predicted).abs().max() > 1e-4, "states that see everything change the actions"
        prefill(start)


def test_time_sinusoids():
    cosines, sines = sinusoid(torch.tensor(999), 256).chunk(2)
    torch.testing.assert_close(
        cosines[[0, 1, 127]], torch.tensor([0.999650, 0.963782, 0.994243]).double(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        sines[[0, 1, 127]], torch.tensor([-0.026461, -0.266690, 0.107147]).double(), atol=1e-6, rtol=0
    )
    sines, cosines = action_sinusoid(torch.tensor(999), 5120).chunk(2)
    torch.testing.assert_close(
        sines[[0, 1, 2559]], torch.tensor([-0.02646, 0.45518, 0.10009]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        cosines[[0, 1, 2559]], torch.tensor([0.99965, -0.89040, 0.99498]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "tensors", "values"), [("wan21_14b", 1317, 16_484_292_448), ("wan22_5b", 997, 5_606_692_832)]
)
def test_large_variants_have_the_parameters_of_the_release(name, tensors, values):
    with torch.device("meta"):
        parameters = WorldActionTransformer(variant(name).transformer).state_dict()
    assert (len(parameters), sum(value.numel() for value in parameters.values())) == (tensors, values)
