# SPDX-License-Identifier: Apache-2.0
"""Time by stage, true also for work that a GPU finishes later, without waiting for it between the stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StageTimer:
    """Collects the duration of named stages of one engine step.

    On a GPU the stages are bounded by events in its queue, so that the program runs ahead of it.

    Args:
        device: Device whose queued work belongs to a stage.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the stage `name`."""
        if self._device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            queue = torch.cuda.current_stream(self._device)
            first.record(queue)
            yield
            last.record(queue)
            self._events.append((name, first, last))
        else:
            start = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - start)

    def seconds(self) -> dict[str, float]:
        """Wait for the queued work; return the duration of each stage [s], one entered twice counts both."""
        for name, first, last in self._events:
            last.synchronize()
            self._add(name, first.elapsed_time(last) / 1e3)
        self._events.clear()
        return self._seconds

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
