# SPDX-License-Identifier: Apache-2.0
"""What whoever uses a session relies on, whether one process computes it or several."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.session import StepResult
from dreamzero_ros.engine.switches import Switches


class RunningSession(Protocol):
    """A session; its methods are those of `Session`, and raise RankError where others compute along."""

    @property
    def next_frame(self) -> int:
        """Position in the window at which the next step dreams; 0 when it begins a new window."""

    @property
    def context_frames(self) -> int:
        """Latent frames in the cache."""

    @property
    def speedups(self) -> str:
        """What it does to be fast, in words, with what was measured for it."""

    def reset(self) -> None:
        """Forget the window; the next step begins a new one."""

    def step(self, images: Tensor, state: Tensor, prompt: str) -> StepResult:
        """Observe, then dream the next block and its actions."""

    def look_ahead(self, images: Tensor) -> None:
        """Encode the first images of the next step as soon as they are there."""

    def decode(self, latents: Tensor) -> Tensor:
        """Decode dreamed latents."""

    def close(self) -> None:
        """End the session, and the processes that compute along."""


class OpenSession(Protocol):
    """Opens a session on an engine; `Session` is one."""

    def __call__(self, engine: Engine, sampler: SamplerConfig, *, switches: Switches) -> RunningSession:
        """Return the session, which its user closes."""
