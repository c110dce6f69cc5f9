# SPDX-License-Identifier: Apache-2.0
"""What the transformer is told about the noise of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor


@dataclass(frozen=True)
class Times:
    """The timesteps of a call, embedded; B may be 1 for all rows of a batch."""

    frames: Tensor
    """Time embedding of the frames whose flow is asked for, (B, T, dim); T may be 1 for all of them."""
    modulation: Tensor
    """Projected time embeddings, (B, R, 6, dim)."""
    row: Tensor | None
    """Time embedding of every token, (L,) in 0..R-1; None where all tokens share the only one."""
    actions: Tensor | None
    """Sinusoids of the actions' timesteps, (B, A, dim); None in a call without actions."""


def spans(counts: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Join neighbours that share a timestep.

    Args:
        counts: Timestep of some tokens in a row, and their number.

    Returns:
        Timestep and number of tokens of every span.
    """
    joined = [
        (timestep, sum(count for _, count in group))
        for timestep, group in groupby((pair for pair in counts if pair[1]), key=lambda pair: pair[0])
    ]
    return [timestep for timestep, _ in joined], [count for _, count in joined]


def rows_of_spans(lengths: Sequence[int], device: torch.device) -> Tensor | None:
    """Return the number of the span of every token, (L,), or None for a single span."""
    if len(lengths) == 1:
        return None
    return repeat(range(len(lengths)), lengths, device)


def repeat(values: Sequence[int], counts: Sequence[int], device: torch.device) -> Tensor:
    """Return every value as often as said, (L,) int64.

    They are filled in on the device: a copy from the host would wait for all that is queued there.
    """
    pairs = zip(values, counts, strict=True)
    return torch.cat([torch.full((count,), value, device=device) for value, count in pairs])
