# SPDX-License-Identifier: Apache-2.0
"""How large everything is that the report measures: as on a robot, small for a CPU, or as small as can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from dreamzero_ros.engine.config import TINY, WAN21_14B, ModelConfig

LAYERS_CHECKED = 2
"""Layers of the large model that are compared with float32, whose weights would not fit as a whole."""


@dataclass(frozen=True)
class Sizes:
    """Models, calls and buffers of a report."""

    large: str
    """Variant in the place of the 14B model."""
    second: str
    """Variant in the place of the 5B model."""
    checked: ModelConfig
    """Sizes of the large model that still fit in float32."""
    dtype: torch.dtype
    """Of the models that are timed."""
    compile: bool
    """Whether blocks are compiled where speed-ups are checked."""
    compile_timed: bool
    """Whether blocks are compiled in models that are timed; a CPU takes minutes for each."""
    window: int
    """Calls of a window for the headline figures: the first begins it."""
    steps: tuple[int, int]
    """Transformer runs per chunk: the usual number, and few."""
    scenarios: int
    """Recorded loops that are repeated."""
    copy_bytes: int
    """Size of the copy that measures bandwidth."""


LARGE = Sizes(
    large="wan21_14b",
    second="wan22_5b",
    checked=replace(WAN21_14B, transformer=replace(WAN21_14B.transformer, num_layers=LAYERS_CHECKED)),
    dtype=torch.bfloat16,
    compile=True,
    compile_timed=True,
    window=3,
    steps=(8, 4),
    scenarios=4,
    copy_bytes=4_000_000_000,
)
SMALL = Sizes(
    large="tiny",
    second="tiny",
    checked=TINY,
    dtype=torch.float32,
    compile=True,
    compile_timed=False,
    window=2,
    steps=(8, 4),
    scenarios=2,
    copy_bytes=64_000_000,
)
LEAST = replace(SMALL, compile=False, steps=(2, 2), scenarios=1, copy_bytes=8_000_000)

SIZES: Mapping[str, Sizes] = {"large": LARGE, "small": SMALL, "least": LEAST}


def usual_sizes(device: torch.device) -> str:
    """Return the name of the sizes for a device."""
    return "large" if device.type == "cuda" else "small"
