# SPDX-License-Identifier: Apache-2.0
"""Every kind of call of the transformer, recorded once and replayed from then on: CUDA graphs.

A pass is more than a thousand kernels, which the host launches one by one. A recording launches all of them
at once, with the sizes and the addresses that they had. So it holds for one kind of call, which `Kind` and
the shapes of tensors tell from others. Tensors that change from call to call are copied to where it reads
them. All else that it reads stays where it is as long as the session lives: weights, caches and rotations.

Graphs of torch.compile itself ("reduce-overhead") are no way here: they leave out functions that write to
what they are given, as attention does to the cache. The price is the memory of one pass, which all recordings
share, and a first window in which everything is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

Flows = tuple[Tensor, Tensor | None]
"""What the transformer predicts: the flow of the video, and of the actions where there are any."""

Given = Sequence[Tensor | None]
"""Tensors of a pass, those that it goes without being None."""

Shapes = tuple[torch.Size | None, ...]
"""Theirs."""


class Kind(NamedTuple):
    """Every Python value that changes what a pass does from one call of a session to another."""

    start: int
    """Position of its first frame."""
    stored: int
    """Frames in the cache when it begins."""
    observed: int
    """Frames that are observed where it dreams others."""
    rows: tuple[int, int]
    """First row of the caches, and the one behind the last."""
    text_rows: int
    """Rows of the text that it attends to where padding is merged."""


class Recorder(Protocol):
    """Records work on tensors."""

    def __call__(self, run: Callable[[], Flows]) -> tuple[Flows, Callable[[], None]]:
        """Return what `run` computed, and a function that computes it anew in the same place."""


class Graphs:
    """Replays calls of the transformer, and records them where they are the first of their kind.

    Args:
        record: How they are recorded.
    """

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._recordings: dict[tuple[Kind, Shapes], Recording] = {}

    def run(self, kind: Kind, compute: Callable[..., Flows], given: Given) -> Flows:
        """Return what `compute` makes of the given tensors.

        Args:
            kind: All that it depends on, besides them and tensors that stay where they are.
            compute: Is called for the first call of a kind only.
            given: Its arguments.
        """
        key = kind, tuple(None if x is None else x.shape for x in given)
        if key not in self._recordings:
            self._recordings[key] = Recording(self._record, compute, given)
        return self._recordings[key].replay(given)


def make_graphs(device: torch.device, ranks: int, record: Recorder | None = None) -> Graphs:
    """Return what records and replays the calls of a session.

    Args:
        device: Where they run.
        ranks: Number of processes that share the session.
        record: How they are recorded; by default as CUDA graphs.

    Raises:
        ValueError: If they cannot be recorded there.
    """
    if ranks > 1:
        raise ValueError(
            f"speed-up graphs: never tried with several ranks, and there are {ranks}; leave graphs out of "
            "the speed-ups"
        )
    return Graphs(record or cuda_recorder(device))


class Recording:
    """One kind of call, recorded.

    Args:
        record: How it is recorded.
        compute: The call.
        given: Tensors of the first call of this kind.
    """

    def __init__(self, record: Recorder, compute: Callable[..., Flows], given: Given) -> None:
        self._given = [None if x is None else x.clone() for x in given]
        self._flows, self._replay = record(lambda: compute(*self._given))

    def replay(self, given: Given) -> Flows:
        """Compute the flows of other tensors of the same shapes."""
        for kept, new in zip(self._given, given, strict=True):
            if kept is not None and new is not None:
                kept.copy_(new)
        self._replay()
        flow, action_flow = self._flows  # the next replay overwrites them, solvers keep those of two steps
        return flow.clone(), None if action_flow is None else action_flow.clone()


def cuda_recorder(device: torch.device) -> Recorder:
    """Return a recorder of CUDA graphs, all of which share the memory of a pass.

    Sharing is safe, as recordings are replayed one after the other, and what one of them returns is copied
    before the next. Other threads may use the device meanwhile.

    Raises:
        ValueError: If the device is none for CUDA.
    """
    if device.type != "cuda":
        raise ValueError(
            f"speed-up graphs: records CUDA graphs, and the model runs on {device}; leave graphs out of the "
            "speed-ups, or run on a CUDA device"
        )
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    pool = torch.cuda.graph_pool_handle()

    def record(run: Callable[[], Flows]) -> tuple[Flows, Callable[[], None]]:
        with torch.cuda.device(device):
            _warm_up(run, stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                flows = run()
        return flows, graph.replay

    return record


def _warm_up(run: Callable[[], Flows], stream: torch.cuda.Stream) -> None:
    """Let libraries, compilers and tables do what they do at the first call of its kind, on the same stream.

    After https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture.
    """
    current = torch.cuda.current_stream()
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        run()
    current.wait_stream(stream)
