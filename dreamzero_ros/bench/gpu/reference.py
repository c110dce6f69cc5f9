# SPDX-License-Identifier: Apache-2.0
"""The recorded vectors of the reference release, and the model that they were recorded from.

They lie in `test/goldens` of a checkout; its README says how they came about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamzero_ros.engine.config import (
    ImageConfig,
    ModelConfig,
    SamplerConfig,
    TextConfig,
    TransformerConfig,
    VaeConfig,
)
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.pixels import to_unit_range
from dreamzero_ros.engine.session import Noise
from dreamzero_ros.engine.vae import VideoStream

Vectors = dict[str, Tensor]

CPU = torch.device("cpu")
SPATIAL_FACTOR = 8
"""Image pixels per latent pixel in the recordings."""


def read_vectors(folder: Path, name: str, device: torch.device = CPU) -> Vectors:
    """Read one file of vectors."""
    with np.load(folder / f"{name}.npz") as file:
        return {key: torch.from_numpy(np.asarray(file[key])).to(device) for key in file.files}


def read_config(folder: Path) -> dict[str, Any]:
    """Read what `config.json` says about the vectors: sizes, sampler, scenarios."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def recorded_sizes(config: dict[str, Any]) -> TransformerConfig:
    """Return the sizes of the recorded transformer."""
    recorded = config["transformer"]
    known = {field.name for field in fields(TransformerConfig)}
    sizes = {name: value for name, value in recorded.items() if name in known}
    return TransformerConfig(**sizes, concat_first_frame_latent=recorded["model_type"] == "i2v")


def recorded_transformer(folder: Path) -> WorldActionTransformer:
    """Return the recorded transformer; its state dict has the recorded names and no others."""
    model = WorldActionTransformer(recorded_sizes(read_config(folder)))
    model.load_state_dict(read_vectors(folder, "weights"))
    return model.eval()


def recorded_sampler(config: dict[str, Any], **settings: Any) -> SamplerConfig:
    """Return the sampler of the recordings with the settings of a scenario."""
    return SamplerConfig(
        num_steps=config["num_inference_steps"],
        sigma_shift=config["sigma_shift"],
        guidance_scale=settings.pop("cfg_scale", config["cfg_scale"]),
        **settings,
    )


def recorded_noise(inputs: Vectors) -> Noise:
    """Return the initial noise of every recorded chunk."""
    return Noise(inputs["noise_video"], inputs["noise_action"])


@dataclass
class RecordedEncoders:
    """An engine whose encoders answer as recorded for the current call and check what they are given."""

    config: ModelConfig
    transformer: WorldActionTransformer
    inputs: Vectors
    call: int = 0
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    encoded_texts: int = 0

    @property
    def calls(self) -> int:
        """Number of recorded calls."""
        return sum(name.endswith(".images") for name in self.inputs)

    def of_call(self, name: str) -> Tensor:
        """Return a recorded input of the current call."""
        return self.inputs[f"call{self.call}.{name}"]

    def tokenize(self, text: str) -> tuple[Tensor, Tensor]:
        """Return the recorded tokens of the negative prompt."""
        assert text == SamplerConfig().negative_prompt, "no other text was recorded"
        ids = self.inputs["ids_negative"]
        return ids, ids != 0

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the recorded embeddings of recorded tokens."""
        torch.testing.assert_close(mask, ids != 0)
        self.encoded_texts += 1
        names = [name for name in self.inputs if name.startswith("ids")]
        known = next(name for name in names if torch.equal(self.inputs[name], ids))
        return self.inputs[known.replace("ids", "prompt")]

    def encode_image(self, image: Tensor) -> Tensor:
        """Return the recorded image tokens of the image that begins the current window."""
        images = self.of_call("images")
        context = images[:, -1:] if images.shape[1] in (4, 9) else images[:, :1]
        torch.testing.assert_close(image, to_unit_range(context, self.dtype)[:, :, 0])
        return self.inputs[f"clip{self.of_call('clip_index')}"]

    def encode_video(self, video: Tensor) -> Tensor:
        """Return the recorded latents of the current call, or those behind its image conditioning."""
        of_window = self.config.num_frames if self.config.transformer.concat_first_frame_latent else 1
        if video.shape[2] == of_window:
            assert not video[:, :, 1:].any(), "images behind the first one are blank"
            return self.inputs[f"ys{self.of_call('ys_index')}"][:, -self.config.vae.z_dim :]
        latents = self.of_call("latents")
        assert 1 + (video.shape[2] - 1) // self.config.vae.temporal_factor == latents.shape[2]
        return latents

    def stream_video(self) -> VideoStream:
        """Refuse: no video was recorded piece by piece."""
        raise NotImplementedError("the recorded loops have no video that was encoded piece by piece")

    def decode_video(self, latents: Tensor) -> Tensor:
        """Refuse: no decoded video was recorded."""
        raise NotImplementedError("the recorded loops have no decoded video")


def recorded_engine(
    folder: Path,
    transformer: WorldActionTransformer,
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float32,
) -> RecordedEncoders:
    """Return what a session needs to repeat the recorded loops.

    Args:
        folder: Of the vectors.
        transformer: The recorded one; it is moved to the device and the type.
        device: Where it runs.
        dtype: Type of its weights and of what the encoders answer.
    """
    recorded = read_config(folder)
    height, width = (recorded[f"latent_{side}"] * SPATIAL_FACTOR for side in ("height", "width"))
    config = ModelConfig(
        name="reference",
        transformer=transformer.config,
        vae=VaeConfig(z_dim=transformer.config.out_dim, latents_mean=(), latents_std=()),
        text=TextConfig("bytes", {}),
        image=ImageConfig({}),
        view_height=height // 2,
        view_width=width // 2,
        model_height=height,
        model_width=width,
        num_frames=recorded["num_frames"],
    )
    inputs = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in read_vectors(folder, "loop_inputs", device).items()
    }
    return RecordedEncoders(config, transformer.to(device, dtype), inputs, device=device, dtype=dtype)
