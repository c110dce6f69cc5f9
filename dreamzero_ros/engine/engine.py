# SPDX-License-Identifier: Apache-2.0
"""The weights of a world action model, shared by all sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dreamzero_ros.engine.checkpoint import METADATA, CheckpointError
from dreamzero_ros.engine.config import LinearFormat, ModelConfig, SamplerConfig
from dreamzero_ros.engine.encoders import ImageEncoder, TextEncoder
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.vae import VideoStream, VideoVae


@dataclass(frozen=True)
class Engine:
    """Transformer, encoders and autoencoder on one device; a session runs them and never changes them."""

    config: ModelConfig
    transformer: WorldActionTransformer
    text_encoder: TextEncoder
    image_encoder: ImageEncoder
    vae: VideoVae
    device: torch.device
    dtype: torch.dtype
    source: str
    """Where the weights come from, for people: a folder, a hub id, or that they are random."""
    trained: bool = True
    """Whether the weights were trained, so that statistics of the training are needed to use them."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    """Sampler for which the checkpoint was trained."""
    metadata: Mapping[str, Any] | None = None
    """Content of metadata.json: statistics and modalities by embodiment tag; None where there is none."""
    run_config: Mapping[str, Any] | None = None
    """Content of conf.yaml, the run that made the checkpoint; None where there is none."""
    doubts: tuple[str, ...] = ()
    """What is uncertain about the weights, one sentence each."""
    linear_format: LinearFormat = "native"
    """How the large linear layers of the transformer are stored and multiplied."""
    offload_text: bool = False
    """Whether the text encoder rests in main memory and comes to the device layer by layer for a new text."""

    def tokenize(self, text: str) -> tuple[Tensor, Tensor]:
        """Turn a text into token ids (1, L) int64 and their mask (1, L)."""
        ids, mask = self.text_encoder.tokenize(text)
        return ids.to(self.device), mask.to(self.device)

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode token ids (B, L) and mask (B, L) to (B, L, text_dim), rows of padding zero."""
        return self.text_encoder.encode(ids, mask)

    def encode_image(self, image: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in [-1, 1] to image tokens (B, image_tokens, image_dim)."""
        return self.image_encoder.encode(image)

    def encode_video(self, video: Tensor) -> Tensor:
        """Encode images (B, 3, T, H, W) in [-1, 1] to normalised latents (B, C, F, h, w)."""
        return self.vae.encode(video)

    def stream_video(self) -> VideoStream:
        """Begin a video that is encoded as its images arrive."""
        return self.vae.stream()

    def decode_video(self, latents: Tensor) -> Tensor:
        """Decode normalised latents (B, C, F, h, w) to images (B, 3, T, H, W) in [-1, 1]."""
        return self.vae.decode(latents)

    def require_tag(self, tag: str) -> Mapping[str, Any]:
        """Return the metadata of one embodiment: its statistics and modalities.

        Raises:
            CheckpointError: If the checkpoint has none for that tag; the message names the tags that it has.
        """
        if self.metadata is None:
            raise CheckpointError(
                f"{self.source}: {METADATA} is missing, so there are no statistics for {tag!r}: a base for "
                f"post-training, such as GEAR-Dreams/DreamZero-AgiBot, has none and cannot drive a robot "
                f"before it was trained on its data; use a checkpoint that was trained for {tag!r}, fetch "
                f"the file with it, or name a statistics file in the robot file"
            )
        if tag not in self.metadata:
            known = ", ".join(map(repr, self.metadata))
            raise CheckpointError(
                f"{self.source}: {METADATA} knows no embodiment {tag!r}, only {known}; use a checkpoint "
                f"trained for {tag!r}, or an embodiment with one of these tags"
            )
        entry: Mapping[str, Any] = self.metadata[tag]
        return entry
