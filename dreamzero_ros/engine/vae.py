# SPDX-License-Identifier: Apache-2.0
"""The causal video autoencoder: images to normalised latents and back.

The network is `AutoencoderKLWan` of `diffusers`, for Wan2.1 and Wan2.2 alike. The first image becomes a
latent frame alone, every further group of four becomes one more; nothing is carried from call to call.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from dreamzero_ros.engine.config import VaeConfig


class VideoVae(nn.Module):
    """Encoder and decoder between images in [-1, 1] and latents of zero mean and unit deviation.

    Args:
        config: Sizes of the autoencoder, mean and deviation of its latents.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.model = AutoencoderKLWan(z_dim=config.z_dim, **config.kwargs)
        # Constants name their device, so that they have values after a construction on the meta device too.
        mean = torch.tensor(config.latents_mean, device="cpu")
        std = torch.tensor(config.latents_std, device="cpu")
        self.register_buffer("mean", mean.view(1, -1, 1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(1, -1, 1, 1, 1), persistent=False)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Encode images (B, 3, T, H, W) in [-1, 1] to latents (B, C, F, h, w), F = 1 + (T - 1) // 4.

        The mean of the posterior is taken, no sample. Images beyond the last whole group are not seen.
        """
        mu: Tensor = self.model.encode(video).latent_dist.mode()
        return (mu - self.mean.to(mu.dtype)) * (1 / self.std).to(mu.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, F, h, w) to images (B, 3, T, H, W) clamped to [-1, 1], T = 1 + 4 (F - 1)."""
        z = latents * self.std.to(latents.dtype) + self.mean.to(latents.dtype)
        video: Tensor = self.model.decode(z).sample
        return video
