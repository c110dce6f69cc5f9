# SPDX-License-Identifier: Apache-2.0
"""config.json of the reference release: which of our variants a checkpoint is, and back.

Of that file only the sizes of the transformer, the lengths of its blocks and the noise of its video are read.
The action head has fields with the same names as sizes (`hidden_size` is one) that do not change the network;
they are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.config import VARIANTS, ModelConfig, SamplerConfig

_SIZES = ("dim", "num_layers", "num_heads", "ffn_dim", "in_dim", "out_dim")
"""Fields of the transformer that every config.json has and that tell the variants apart."""

_SETTINGS = ("num_frame_per_block", "num_action_per_block", "num_state_per_block", "max_chunk_size")
"""Fields of the transformer that do not change its weights, taken from config.json where it has them."""


def read_model_config(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the variant whose transformer has the sizes in config.json, with the block lengths given there.

    Raises:
        CheckpointError: If a size is missing or no variant has these sizes.
    """
    head = _action_head(path, content)
    sizes = head.get("diffusion_model_cfg")
    if not isinstance(sizes, dict):
        raise CheckpointError(
            f"{path}: action_head_cfg.config.diffusion_model_cfg is missing; fetch the file again"
        )
    missing = [name for name in _SIZES if name not in sizes]
    if missing:
        raise CheckpointError(
            f"{path}: diffusion_model_cfg has no {', '.join(missing)}; fetch the file again"
        )
    differences = {
        name: [size for size in _SIZES if getattr(config.transformer, size) != sizes[size]]
        for name, config in VARIANTS.items()
    }
    nearest = min(differences, key=lambda name: len(differences[name]))
    if differences[nearest]:
        wanted = VARIANTS[nearest].transformer
        listed = ", ".join(
            f"{size} expected {getattr(wanted, size)}, got {sizes[size]}" for size in differences[nearest]
        )
        raise CheckpointError(
            f"{path}: no variant has the sizes of this transformer; nearest is {nearest}: {listed}; use a "
            f"checkpoint of {', '.join(VARIANTS)}, or add its sizes to the variants"
        )
    config = VARIANTS[nearest]
    settings = {name: sizes.get(name, head.get(name)) for name in _SETTINGS}
    known = {name: value for name, value in settings.items() if value is not None}
    return replace(
        config,
        transformer=replace(config.transformer, **known),
        num_frames=head.get("num_frames", config.num_frames),
    )


def read_sampler_config(path: Path, content: Mapping[str, Any]) -> SamplerConfig:
    """Return the sampler that config.json asks for: the usual one, or one that leaves noise in the video."""
    head = _action_head(path, content)
    if not head.get("decouple_inference_noise", False):
        return SamplerConfig()
    return SamplerConfig(video_final_noise=float(head["video_inference_final_noise"]))


def read_lora_alpha(path: Path, content: Mapping[str, Any]) -> float:
    """Return the alpha of the adapters: a change is scaled by alpha / r.

    Raises:
        CheckpointError: If config.json does not have it.
    """
    head = _action_head(path, content)
    if "lora_alpha" not in head:
        raise CheckpointError(
            f"{path}: action_head_cfg.config.lora_alpha is missing, so the scale of the adapters is unknown; "
            "set lora_alpha (the reference release trains with 4)"
        )
    return float(head["lora_alpha"])


def write_config(config: ModelConfig, sampler: SamplerConfig) -> dict[str, Any]:
    """Return the content of a config.json for which the functions above give `config` and `sampler` back."""
    transformer = config.transformer
    sizes = {name: getattr(transformer, name) for name in (*_SIZES, *_SETTINGS)}
    head: dict[str, Any] = {"num_frames": config.num_frames, "diffusion_model_cfg": sizes}
    if sampler.video_final_noise is not None:
        head |= {"decouple_inference_noise": True, "video_inference_final_noise": sampler.video_final_noise}
    return {
        "model_type": "vla",
        "action_dim": transformer.action_dim,
        "action_horizon": transformer.num_action_per_block,
        "action_head_cfg": {"config": head},
    }


def _action_head(path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        head = content["action_head_cfg"]["config"]
    except (KeyError, TypeError):
        head = None
    if not isinstance(head, dict):
        raise CheckpointError(f"{path}: action_head_cfg.config is missing; fetch the file again")
    return head
