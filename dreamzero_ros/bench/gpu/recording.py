# SPDX-License-Identifier: Apache-2.0
"""Recordings of tensor work that need no GPU: a stand-in for CUDA graphs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from dreamzero_ros.engine.graphs import Flows

WAITS = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "lift_fresh"}
"""Operators of ATen that make a host wait for its GPU; the last one makes a tensor of the host's values."""


class OperatorRecorder:
    """Records the ATen operators of some work, with the very tensors that they read and write.

    As with a CUDA graph, a replay repeats the operators and none of the Python around them, with all values
    of Python as they were; it puts what the work returns where it was; what makes the host wait cannot be
    recorded; and tensors that the work did not make must still be there.
    """

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, run: Callable[[], Flows]) -> tuple[Flows, Callable[[], None]]:
        """Return what `run` computed, and a function that computes it anew in the same place."""
        run()
        with _Log() as log:
            flows = run()
        log.close(flows)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            for old, new in zip(flows, log.replay(), strict=True):
                if old is not None:
                    old.copy_(new)

        return flows, replay


class _Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[tuple[Any, Any]] = []  # operators and their arguments
        self._results: list[Any] = []  # of all operators; held while recording, so that ids are unique
        self._places: dict[int, _Place] = {}  # among the results, by id

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        assert func.overloadpacket.__name__ not in WAITS, f"{func} makes the host wait; graphs cannot hold it"
        self._calls.append((func, tree_map(self._reference, (args, kwargs or {}))))
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            self._places.setdefault(id(result), _Place(len(self._results)))
            self._results.append(result)
        return results

    def close(self, flows: Flows) -> None:
        """End the recording of some work that returned these."""
        self._flows = tree_map(self._reference, flows)
        self._results.clear()
        self._places.clear()

    def replay(self) -> Any:
        """Repeat all operators; returns what the work would."""
        results: list[Any] = []
        resolve = partial(_resolve, results)
        for func, given in self._calls:
            args, kwargs = tree_map(resolve, given)
            results += tree_leaves(func(*args, **kwargs))
        return tree_map(resolve, self._flows)

    def _reference(self, x: Any) -> Any:
        """Hold no tensors: those that the work makes have a place, others must be kept by somebody else."""
        return self._places.get(id(x)) or weakref.ref(x) if isinstance(x, Tensor) else x


@dataclass(frozen=True)
class _Place:
    index: int


def _resolve(results: list[Any], x: Any) -> Any:
    if isinstance(x, _Place):
        return results[x.index]
    if isinstance(x, weakref.ref):
        x = x()
        assert x is not None, "a recording reads a tensor that is gone"
    return x
