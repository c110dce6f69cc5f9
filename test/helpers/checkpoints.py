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
