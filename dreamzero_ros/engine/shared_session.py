# SPDX-License-Identifier: Apache-2.0
"""One session on several ranks: rank 0 has the observations, the others compute along.

Rank 0 holds a `SharedSession`, which is used like a `Session`; every other rank runs `serve`, which returns
when rank 0 closes its session:

    ranks = join("tcp://localhost:29500", rank, 2, device, split_guidance=True)
    if ranks.rank == 0:
        session = SharedSession(engine, sampler, ranks)
        ...  # session.step, as often as wanted
        session.close()
    else:
        serve(engine, sampler, ranks)
    ranks.leave()
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from torch import Tensor

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.parallel import Ranks
from dreamzero_ros.engine.session import Noise, Session, SessionEngine, SolverStep, StepResult
from dreamzero_ros.engine.switches import EAGER, Switches
from dreamzero_ros.engine.wire import Command, Header, Wire

FAREWELL = timedelta(seconds=5)
"""How long the other ranks may take to hear that the session is closed."""


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

    @property
    def speedups(self) -> str:
        """As of `Session`."""
        return self._session.speedups

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
            RankError: If another rank is gone, or does not hear it.
        """
        self._wire.tell(Header(Command.END), timeout=FAREWELL)

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
