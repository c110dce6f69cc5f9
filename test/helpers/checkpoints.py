# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints in the layout of the reference release: what they hold, and how to spoil them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.weights import load_engine

METADATA = {
    "oxe_droid": {"statistics": {"state": {}, "action": {}}, "embodiment_tag": "oxe_droid"},
    "yam": {"statistics": {"state": {}, "action": {}}, "embodiment_tag": "yam"},
}
RUN_CONFIG = {"relative_action": True, "relative_action_keys": ["joint_position"]}
SHARD_BYTES = 1_000_000
QUERY = "action_head.model.blocks.0.self_attn.q.weight"
STACKED = "action_head.image_encoder.model.visual.transformer.0.attn.to_qkv.weight"
ADAPTED = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.k")
ADAPTED += ("cross_attn.v", "cross_attn.o", "ffn.0", "ffn.2")
TRAINED_WHOLE = ("state_encoder.", "action_encoder.", "action_decoder.")
RANK, ALPHA = 4, 6.0

Tensors = dict[str, Tensor]


def outputs(engine: Engine) -> list[Tensor]:
    """Run every module of an engine once."""
    config = engine.config
    generator = torch.Generator().manual_seed(0)
    shape = (1, 1, config.canvas_height, config.canvas_width, 3)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    state = torch.rand(1, 1, config.transformer.max_state_dim, generator=generator)
    session = Session(engine, SamplerConfig(num_steps=2, dit_steps=2))
    result = session.step(images, state, "pick up the cup")
    return [result.actions, result.video, session.decode(result.video)]


def edit(path: Path, change: Callable[[Tensors], None]) -> None:
    """Change the tensors of a weight file."""
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path)


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def sizes_of(content: dict[str, Any]) -> dict[str, Any]:
    sizes: dict[str, Any] = content["action_head_cfg"]["config"]["diffusion_model_cfg"]
    return sizes


def refusal(folder: Path | str, **arguments: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_engine(folder, "cpu", torch.float32, **arguments)
    return str(caught.value)


def adapters(weights: Tensors) -> tuple[Tensors, Tensors]:
    """Train some: what an adapter-only checkpoint holds, and the weights that it means."""
    generator = torch.Generator().manual_seed(5)
    stored, merged = {}, dict(weights)
    for key, weight in weights.items():
        name = key.removeprefix("action_head.model.")
        wrapped = f"action_head.model.base_model.model.{name}"
        if name.startswith(TRAINED_WHOLE):
            stored[wrapped] = merged[key] = weight + 0.1
        elif name.startswith("blocks.") and name.endswith(tuple(f"{layer}.weight" for layer in ADAPTED)):
            a = torch.randn(RANK, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5
            b = torch.randn(weight.shape[0], RANK, generator=generator)
            stored[wrapped.replace(".weight", ".lora_A.default.weight")] = a
            stored[wrapped.replace(".weight", ".lora_B.default.weight")] = b
            merged[key] = weight + (ALPHA / RANK) * (b @ a)
    return stored, merged


def adapt(folder: Path) -> Tensors:
    """Make a checkpoint one of adapters only; returns the weights that it means on top of what it was."""
    stored, merged = adapters(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    save_file(stored, folder / "model.safetensors")
    edit_json(folder / "config.json", lambda c: c["action_head_cfg"]["config"].update(lora_alpha=ALPHA))
    return merged
