# SPDX-License-Identifier: Apache-2.0
"""Commands of rank 0 to the ranks that share its session.

A command is a header of integers, sent to ranks that may have waited for long, and the tensors that belong to
it, whose shapes follow from the header and the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

import torch
from torch import Tensor

from dreamzero_ros.engine.config import ModelConfig
from dreamzero_ros.engine.parallel import IDLE, Ranks


class Command(IntEnum):
    """What the other ranks are to do."""

    STEP = 0
    LOOK_AHEAD = 1
    RESET = 2
    END = 3


@dataclass(frozen=True)
class Header:
    """A command, and what its tensors have for shapes."""

    command: Command
    images: int = 0
    """Number of images T."""
    texts: int = 0
    """Number of prompts: one for all rollouts, or one for each."""
    text_length: int = 0
    """Token ids of a prompt, L."""
    latents: int = 0
    """Whether latents are given, 1 or 0."""

    def tensors(self, config: ModelConfig, batch: int) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
        """Name, shape and dtype of every tensor behind the header."""
        sizes = config.transformer
        canvas = (config.canvas_height, config.canvas_width, 3)
        images = ("images", (batch, self.images, *canvas), torch.uint8)
        if self.command is Command.LOOK_AHEAD:
            return [images]
        if self.command is not Command.STEP:
            return []
        latents = (batch, config.vae.z_dim, sizes.num_frame_per_block, *config.latent_size)
        return [
            images,
            ("state", (batch, sizes.num_state_per_block, sizes.max_state_dim), torch.float32),
            ("prompt", (self.texts, self.text_length), torch.int64),
            *[("latents", latents, torch.float32)] * self.latents,
        ]


class Wire:
    """Carries commands from rank 0 to the others.

    Args:
        ranks: All of them.
        config: Sizes of the model.
        batch: Number of rollouts B.
    """

    def __init__(self, ranks: Ranks, config: ModelConfig, batch: int) -> None:
        self._ranks = ranks
        self._config = config
        self._batch = batch

    def tell(self, header: Header, tensors: Sequence[Tensor] = (), timeout: timedelta | None = None) -> None:
        """Send a command; on rank 0.

        Args:
            header: The command.
            tensors: What belongs to it.
            timeout: How long the others may take to hear it; None: as long as in a step.

        Raises:
            ValueError: If the shape of a tensor is wrong; nothing is sent then.
            RankError: If another rank is gone, or silent for too long.
        """
        wanted = header.tensors(self._config, self._batch)
        for (name, shape, _), tensor in zip(wanted, tensors, strict=True):
            if tensor.shape != shape:
                raise ValueError(f"{name}: expected {shape}, got {tuple(tensor.shape)}")
        self._ranks.all.broadcast(torch.tensor(_integers(header)), timeout)
        for (_, _, dtype), tensor in zip(wanted, tensors, strict=True):
            self._ranks.all.broadcast(tensor.to("cpu", dtype))

    def hear(self) -> tuple[Command, list[Tensor]]:
        """Wait for a command; on the other ranks.

        Raises:
            RankError: If rank 0 is gone.
        """
        blank = torch.tensor(_integers(Header(Command.END)))
        heard = self._ranks.all.broadcast(blank, IDLE).tolist()
        header = Header(Command(heard[0]), *heard[1:])
        wanted = header.tensors(self._config, self._batch)
        tensors = [self._ranks.all.broadcast(torch.empty(shape, dtype=dtype)) for _, shape, dtype in wanted]
        return header.command, tensors


def _integers(header: Header) -> list[int]:
    return [header.command, header.images, header.texts, header.text_length, header.latents]
