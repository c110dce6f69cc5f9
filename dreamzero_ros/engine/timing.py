# SPDX-License-Identifier: Apache-2.0
"""Wall-clock time by stage, true also for work that a GPU finishes later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StageTimer:
    """Collects the duration of named stages of one engine step.

    Args:
        device: Device whose queued work belongs to a stage.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        """Duration of each stage [s]; a stage entered twice counts both times."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the stage `name`."""
        start = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
