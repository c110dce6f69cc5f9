# SPDX-License-Identifier: Apache-2.0
"""One session on several ranks: rank 0 has the observations, the others compute along.

Rank 0 holds a `SharedSession`, which is used like a `Session`; every other rank runs `serve`, which returns
when rank 0 closes its session. A command is a header of integers, sent to ranks that may have waited for
long, and the tensors that belong to it, whose shapes follow from the header and the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from dreamzero_ros.engine.config import ModelConfig, SamplerConfig
from dreamzero_ros.engine.parallel import Ranks
from dreamzero_ros.engine.session import Noise, Session, SessionEngine, SolverStep, StepResult
from dreamzero_ros.engine.switches import EAGER, Switches


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

    def tell(self, header: Header, tensors: Sequence[Tensor] = ()) -> None:
        """Send a command; on rank 0.

        Raises:
            ValueError: If the shape of a tensor is wrong; nothing is sent then.
            RankError: If another rank is gone.
        """
        wanted = header.tensors(self._config, self._batch)
        for (name, shape, _), tensor in zip(wanted, tensors, strict=True):
            if tensor.shape != shape:
                raise ValueError(f"{name}: expected {shape}, got {tuple(tensor.shape)}")
        self._ranks.idle.broadcast(torch.tensor(_integers(header)))
        for (_, _, dtype), tensor in zip(wanted, tensors, strict=True):
            self._ranks.all.broadcast(tensor.to("cpu", dtype))

    def hear(self) -> tuple[Command, list[Tensor]]:
        """Wait for a command; on the other ranks.

        Raises:
            RankError: If rank 0 is gone.
        """
        heard = self._ranks.idle.broadcast(torch.tensor(_integers(Header(Command.END)))).tolist()
        header = Header(Command(heard[0]), *heard[1:])
        wanted = header.tensors(self._config, self._batch)
        tensors = [self._ranks.all.broadcast(torch.empty(shape, dtype=dtype)) for _, shape, dtype in wanted]
        return header.command, tensors


class SharedSession:
    """The session of rank 0, for which the other ranks compute along.

    All arguments but the ranks are those of `Session`, and the same on all ranks. After a `RankError`, or an
    error inside `step` other than of its arguments, end all ranks and start them anew.

    Args:
        engine: Model and encoders.
        sampler: Settings of the denoising.
        ranks: How the processes share the work.
        batch: Number of rollouts B that advance together.
        noise: Initial noise of every chunk.
        switches: Speed-ups.

    Raises:
        ValueError: If the sampler's settings do not fit together, or the ranks cannot share the work.
    """

    def __init__(
        self,
        engine: SessionEngine,
        sampler: SamplerConfig,
        ranks: Ranks,
        batch: int = 1,
        noise: Noise | None = None,
        switches: Switches = EAGER,
    ) -> None:
        assert ranks.rank == 0, f"rank {ranks.rank} has no observations; call serve there"
        self._session = Session(engine, sampler, batch, noise, switches, ranks)
        self._wire = Wire(ranks, engine.config, batch)
        self._engine = engine
        self._prompt: tuple[str, Tensor] | None = None

    @property
    def batch(self) -> int:
        """Number of rollouts that advance together."""
        return self._session.batch

    @property
    def next_frame(self) -> int:
        """As of `Session`."""
        return self._session.next_frame

    @property
    def context_frames(self) -> int:
        """As of `Session`."""
        return self._session.context_frames

    def reset(self) -> None:
        """Forget the window; the next step begins a new one.

        Raises:
            RankError: If another rank is gone.
        """
        self._wire.tell(Header(Command.RESET))
        self._session.reset()

    def step(
        self,
        images: Tensor,
        state: Tensor,
        prompt: str | Tensor,
        latents: Tensor | None = None,
        on_step: Callable[[SolverStep], None] | None = None,
    ) -> StepResult:
        """Observe, then dream the next block and its actions, as `Session.step` does.

        Raises:
            ValueError: If an input is wrong; the session goes on as if it had not been given.
            RankError: If another rank is gone, or silent for longer than `join` was told.
        """
        self._session.check(images, state)
        ids = self._tokenize(prompt) if isinstance(prompt, str) else prompt
        if ids.dim() != 2 or ids.shape[0] not in (1, self.batch):
            raise ValueError(f"prompt: expected (1, L) or ({self.batch}, L) ids, got {tuple(ids.shape)}")
        given = [images, state, ids, *([] if latents is None else [latents])]
        header = Header(Command.STEP, images.shape[1], len(ids), ids.shape[1], int(latents is not None))
        self._wire.tell(header, given)
        return self._session.step(images, state, ids, latents, on_step)

    def look_ahead(self, images: Tensor) -> None:
        """Encode the first images of the next step as soon as they are there, as `Session.look_ahead` does.

        Raises:
            ValueError: If there are too many images, or of a wrong size.
            RankError: If another rank is gone.
        """
        self._session.look_ahead(images)
        self._wire.tell(Header(Command.LOOK_AHEAD, images.shape[1]), [images])

    def decode(self, latents: Tensor) -> Tensor:
        """Decode dreamed latents as `Session.decode` does, on this rank alone."""
        return self._session.decode(latents)

    def close(self) -> None:
        """Let `serve` return on the other ranks.

        Raises:
            RankError: If another rank is gone.
        """
        self._wire.tell(Header(Command.END))

    def _tokenize(self, text: str) -> Tensor:
        if self._prompt is None or self._prompt[0] != text:
            self._prompt = (text, self._engine.tokenize(text)[0])
        return self._prompt[1]


def serve(
    engine: SessionEngine,
    sampler: SamplerConfig,
    ranks: Ranks,
    batch: int = 1,
    noise: Noise | None = None,
    switches: Switches = EAGER,
) -> None:
    """Compute along with the session of rank 0, which was given the same arguments, until it is closed.

    Raises:
        ValueError: If the sampler's settings do not fit together, or the ranks cannot share the work.
        RankError: If another rank is gone, or silent in the middle of a step.
    """
    assert ranks.rank != 0, "rank 0 has the observations; make its SharedSession there"
    session = Session(engine, sampler, batch, noise, switches, ranks)
    wire = Wire(ranks, engine.config, batch)
    while True:
        command, tensors = wire.hear()
        if command is Command.END:
            return
        if command is Command.STEP:
            images, state, prompt, *latents = tensors
            session.step(images, state, prompt, latents[0] if latents else None)
        elif command is Command.LOOK_AHEAD:
            session.look_ahead(*tensors)
        else:
            session.reset()


def _integers(header: Header) -> list[int]:
    return [header.command, header.images, header.texts, header.text_length, header.latents]
