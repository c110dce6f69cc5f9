# SPDX-License-Identifier: Apache-2.0
"""Which kernel computes attention, chosen by measurement.

Torch has several for one function, each with its own limits, and takes them in an order that is the same for
all GPUs and shapes. Here those that can do the self attention of a session are timed at its size, and torch
is told to prefer the fastest. Calls that it cannot do, such as those with a bias, go to the next one; the
plain kernel, "math", can do all of them, so what is slower than that is left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import takewhile

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from dreamzero_ros.engine.attention import attend
from dreamzero_ros.engine.timing import StageTimer

MATH = "math"
KERNELS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    MATH: SDPBackend.MATH,
}
"""Kernels of torch by name; a CPU has flash and math."""

RUNS = 5
"""Timed runs of a kernel, of which the fastest counts."""


@dataclass(frozen=True)
class AttentionKernels:
    """The kernels of a session, by the time that they took."""

    measured_ms: Mapping[str, float]
    """Time of a self attention by each kernel that can do it [ms]."""

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the kernels, the preferred one first."""
        fastest_first = sorted(self.measured_ms, key=self.measured_ms.__getitem__)
        return (*takewhile(lambda name: name != MATH, fastest_first), MATH)

    @property
    def backends(self) -> tuple[SDPBackend, ...]:
        """What torch calls them, in this order."""
        return tuple(KERNELS[name] for name in self.order)

    def in_words(self) -> str:
        """Say what was measured, the chosen one first."""
        chosen, *others = sorted(self.measured_ms.items(), key=lambda item: item[1])
        rest = ", ".join(f"{name} {ms:.3g} ms" for name, ms in others)
        return f"{chosen[0]} {chosen[1]:.3g} ms" + (f" ({rest})" if rest else "")


def prefer(backends: tuple[SDPBackend, ...]) -> AbstractContextManager[object]:
    """Let attention take these in their order while the context lasts; none: what torch would take."""
    return sdpa_kernel([*backends], set_priority=True) if backends else nullcontext()


@cache
def pick_kernels(
    rows: int,
    queries: int,
    keys: int,
    heads: int,
    head_dim: int,
    device: torch.device,
    dtype: torch.dtype,
) -> AttentionKernels:
    """Time the kernels, once for every size in a process.

    Args:
        rows: Rows of the batch.
        queries: Tokens that attend.
        keys: Tokens that they attend to.
        heads: Number of heads.
        head_dim: Width of a head.
        device: Where they run.
        dtype: Of queries, keys and values.

    Raises:
        RuntimeError: If none can do it, as where memory is short.
    """
    q, k = (
        torch.randn(rows, tokens, heads, head_dim, device=device, dtype=dtype) for tokens in (queries, keys)
    )
    timed = {name: _milliseconds(name, q, k) for name in KERNELS}
    measured = {name: ms for name, ms in timed.items() if ms is not None}
    if not measured:
        raise RuntimeError(
            f"no kernel can do the self attention of {rows} x {keys} tokens here: is memory short?"
        )
    return AttentionKernels(measured)


def _milliseconds(name: str, q: Tensor, k: Tensor) -> float | None:
    """Time of an attention to keys that are values, too [ms]; None if the kernel cannot do it here."""
    with warnings.catch_warnings(), sdpa_kernel(KERNELS[name]):
        warnings.simplefilter("ignore")  # a kernel that cannot do it warns of its reasons
        try:
            attend(q, k, k)
            return 1e3 * min(_seconds(q, k) for _ in range(RUNS))
        except RuntimeError:  # also where the memory for it is missing
            return None


def _seconds(q: Tensor, k: Tensor) -> float:
    timer = StageTimer(q.device)
    with timer.stage("attention"):
        attend(q, k, k)
    return timer.seconds()["attention"]
