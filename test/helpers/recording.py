# SPDX-License-Identifier: Apache-2.0
"""Recordings of tensor work that need no GPU: a stand-in for CUDA graphs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
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
    of Python as they were; every result lies where it lay; what makes the host wait cannot be recorded; and
    tensors that the work did not make must still be there.
    """

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, run: Callable[[], Flows]) -> tuple[Flows, Callable[[], None]]:
        """Return what `run` computed, and a function that computes it anew in the same place."""
        run()
        with _Log() as log:
            flows = run()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            log.replay()

        return flows, replay


class _Log(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any]] = []  # operators, their arguments and results
        self._made: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        assert func.overloadpacket.__name__ not in WAITS, f"{func} makes the host wait; graphs cannot hold it"
        given = tree_map(self._unheld, (args, kwargs or {}))
        results = func(*args, **(kwargs or {}))
        if func.is_view or not func._schema.is_mutable:
            self._made |= {id(x) for x in tree_leaves(results)}
        self._calls.append((func, given, results))
        return results

    def replay(self) -> None:
        """Repeat all operators; views are where they were."""
        for func, given, results in self._calls:
            if func.is_view:
                continue
            args, kwargs = tree_map(_still_there, given)
            anew = func(*args, **kwargs)
            if not func._schema.is_mutable:
                for old, new in zip(tree_leaves(results), tree_leaves(anew), strict=True):
                    if isinstance(old, Tensor):
                        old.copy_(new)

    def _unheld(self, x: Any) -> Any:
        """Hold tensors that the work made, as a graph does, and no others."""
        return weakref.ref(x) if isinstance(x, Tensor) and id(x) not in self._made else x


def _still_there(x: Any) -> Any:
    if not isinstance(x, weakref.ref):
        return x
    tensor = x()
    assert tensor is not None, "a recording reads a tensor that is gone"
    return tensor
