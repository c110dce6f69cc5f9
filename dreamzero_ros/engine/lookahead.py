# SPDX-License-Identifier: Apache-2.0
"""Observed images are encoded as they arrive, so that a call finds all but the last latent done."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dreamzero_ros.engine.pixels import stretch_images
from dreamzero_ros.engine.vae import VideoStream

IMAGES_AHEAD = 2
"""Of the four images of a call: they make all of its latents but the last, and a third would add none."""


class LookAhead:
    """The first images of a call to come, encoded.

    Args:
        stream: Begins a video.
        to_video: Brings canvases (B, T, H, W, 3) to the range and size of the model, (B, 3, T, h, w).
        block_frames: Latent frames of a block.
        temporal_factor: Images per latent frame, which is the number of images of a call.
        images: The first images of the call, (B, T, H, W, 3) uint8.
    """

    def __init__(
        self,
        stream: VideoStream,
        to_video: Callable[[Tensor], Tensor],
        block_frames: int,
        temporal_factor: int,
        images: Tensor,
    ) -> None:
        self._stream = stream
        self._to_video = to_video
        self._block_frames = block_frames
        self._group = temporal_factor
        self._images = images
        missing = images[:, -1:].expand(-1, temporal_factor - images.shape[1], -1, -1, -1)
        known = images.shape[1] * block_frames + 1
        self._pushed = 0
        self._latents: list[Tensor] = []
        self._push(self._stretched(torch.cat([images, missing], dim=1))[:, :known])

    def begins(self, images: Tensor) -> bool:
        """Whether all images of the call, (B, T, H, W, 3) uint8, begin as foreseen."""
        return images.shape[1] == self._group and torch.equal(
            images[:, : self._images.shape[1]], self._images
        )

    def finish(self, images: Tensor) -> Tensor:
        """Encode the rest of a call's images, which begin as foreseen, to all its latents.

        Args:
            images: All images of the call, (B, T, H, W, 3) uint8.
        """
        self._push(self._stretched(images))
        return torch.cat(self._latents, dim=2)

    def _stretched(self, images: Tensor) -> Tensor:
        return stretch_images(images, self._block_frames, self._group)

    def _push(self, images: Tensor) -> None:
        """Encode the groups that are whole, of all that is known of the call's images."""
        while (end := self._pushed + (self._group if self._pushed else 1)) <= images.shape[1]:
            self._latents.append(self._stream.push(self._to_video(images[:, self._pushed : end])))
            self._pushed = end
