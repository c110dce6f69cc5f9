# SPDX-License-Identifier: Apache-2.0
"""The causal video autoencoder: images to normalised latents and back.

The network is `AutoencoderKLWan` of `diffusers`, for Wan2.1 and Wan2.2 alike. The first image becomes a
latent frame alone, every further group of four becomes one more. The encoder is causal in time, so a video
can also be encoded as its images arrive.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify
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
        return self._normalise(mu)

    def stream(self) -> VideoStream:
        """Begin a video that is encoded as its images arrive."""
        return VideoStream(self.model, self._normalise)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, F, h, w) to images (B, 3, T, H, W) clamped to [-1, 1], T = 1 + 4 (F - 1)."""
        z = latents * self.std.to(latents.dtype) + self.mean.to(latents.dtype)
        video: Tensor = self.model.decode(z).sample
        return video

    def _normalise(self, mu: Tensor) -> Tensor:
        return (mu - self.mean.to(mu.dtype)) * (1 / self.std).to(mu.dtype)


class VideoStream:
    """Encodes one video piece by piece, equal to encoding it whole.

    Args:
        model: The autoencoder.
        normalise: Maps the mean of the posterior to latents.
    """

    def __init__(self, model: AutoencoderKLWan, normalise: Callable[[Tensor], Tensor]) -> None:
        self._model = model
        self._normalise = normalise
        self._carried: list[Tensor | str | None] = [None] * sum(1 for _ in model.encoder.modules())
        """What the causal convolutions keep of earlier images, at most one entry for each."""

    @torch.no_grad()
    def push(self, images: Tensor) -> Tensor:
        """Encode the next images, the first one alone, then groups of four, to a latent (B, C, 1, h, w).

        Args:
            images: (B, 3, T, H, W) in [-1, 1].
        """
        patch_size = self._model.config.patch_size
        x = images if patch_size is None else patchify(images, patch_size=patch_size)
        moments = self._model.quant_conv(self._model.encoder(x, feat_cache=self._carried, feat_idx=[0]))
        return self._normalise(moments.chunk(2, dim=1)[0])
