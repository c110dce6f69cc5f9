# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a chunk is, and how fast a device multiplies matrices.

Counted are the matrix products of the transformer, a multiplication and an addition as two operations.
Encoders and elementwise work are left out: what remains is the floor below which no chunk can come.
"""

from __future__ import annotations

import time

import torch
from torch.nn import functional as F

from dreamzero_ros.engine.config import PATCH, LinearFormat, ModelConfig
from dreamzero_ros.engine.linear_format import converter

PEAK_SIZE = {"cuda": 8192, "cpu": 1536}
"""Side of the matrices by which the peak is measured."""
PEAK_ROUNDS = 20


def pass_flops(config: ModelConfig, stored_frames: int, observed_frames: int, dreams: bool) -> float:
    """Operations of one pass of the transformer over one rollout in one branch of guidance.

    Args:
        config: Sizes of the model.
        stored_frames: Latent frames in the cache.
        observed_frames: Frames that the pass observes.
        dreams: Whether it denoises a block with its actions, too.
    """
    sizes, per_frame = config.transformer, config.tokens_per_frame
    stored, observed = stored_frames * per_frame, observed_frames * per_frame
    video = sizes.num_frame_per_block * per_frame if dreams else 0
    others = sizes.num_action_per_block + sizes.num_state_per_block if dreams else 0
    tokens = observed + video + others
    seen_by_observed = stored + observed
    pairs = observed * seen_by_observed + (video + others) * (seen_by_observed + video + others)
    context = tokens * (sizes.image_tokens + sizes.text_len)
    linear = 6 * sizes.dim**2 + 2 * sizes.dim * sizes.ffn_dim
    block = 2 * tokens * linear + 4 * sizes.dim * (pairs + context)
    patches = PATCH * PATCH * sizes.dim * (sizes.in_dim * (observed + video) + sizes.out_dim * video)
    return sizes.num_layers * block + 2 * patches + (_adapter_flops(config) if dreams else 0)


def chunk_flops(
    config: ModelConfig, stored_frames: int, computed: int, branches: int, unguided: int = 0
) -> float:
    """Operations of a chunk: what was observed is written, then so many steps run the transformer.

    Args:
        config: Sizes of the model.
        stored_frames: Latent frames in the cache when the chunk begins.
        computed: Solver steps that run the transformer.
        branches: 2 with guidance, else 1.
        unguided: Of the computed steps, those without the negative prompt.
    """
    observed = 1 if stored_frames == 0 else config.transformer.num_frame_per_block
    write = pass_flops(config, stored_frames, observed, dreams=False)
    passes = branches * computed - unguided
    return branches * write + passes * pass_flops(config, stored_frames + observed, 0, dreams=True)


def measured_peak_flops(
    device: torch.device, dtype: torch.dtype, linear_format: LinearFormat = "native"
) -> float:
    """Operations per second of a large product of square matrices on this device, measured now.

    Args:
        device: Where they are multiplied.
        dtype: Their type.
        linear_format: What one of them was converted to, and the other is as far as the format demands.

    Raises:
        ValueError: If the device cannot do it.
    """
    side = PEAK_SIZE[device.type]
    left, right = torch.randn(2, side, side, device=device).to(dtype).unbind()
    right = converter(linear_format, device, dtype)(right)
    best_s = float("inf")
    for _ in range(PEAK_ROUNDS):
        _wait(device)
        begin = time.perf_counter()
        F.linear(left, right)
        _wait(device)
        best_s = min(best_s, time.perf_counter() - begin)
    return 2 * side**3 / best_s


def _adapter_flops(config: ModelConfig) -> float:
    """Encoders of actions and states, and the decoder of actions."""
    sizes = config.transformer
    dim, hidden = sizes.dim, sizes.hidden_size
    action = sizes.action_dim * dim + 2 * dim * dim + dim * dim + dim * hidden + hidden * sizes.action_dim
    state = sizes.max_state_dim * hidden + hidden * dim
    return 2.0 * (sizes.num_action_per_block * action + sizes.num_state_per_block * state)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
