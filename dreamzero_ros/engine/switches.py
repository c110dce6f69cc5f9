# SPDX-License-Identifier: Apache-2.0
"""The speed-ups of a session, each a switch; with all of them off the engine computes as plainly as it can.

That plain engine is the truth: a test compares every switch with it through a whole window. What a switch
may change is stated beside it. Exact means equal but for the order of sums and the last bit of a float32.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Switches:
    """What a session does to be fast."""

    shared_times: bool = False
    """Timestep embeddings and modulations are computed once per schedule, one for all tokens that share a
    timestep. Exact."""
    real_rotation: bool = False
    """Queries and keys are rotated in float32, by float64 angles, not in complex float64. Exact."""
    batch_guidance: bool = False
    """Prompt and negative prompt go through the transformer together. Exact."""
    merge_padding: bool = False
    """Of a text's rows of padding, which are all alike, a few stand for all. Exact."""
    fuse_observation: bool = False
    """What was observed is written to the cache in the same pass as the first denoising step. Exact."""
    pick_attention: bool = False
    """The kernels of attention that the device has are timed at the start, and the fastest is used. Exact."""
    compile: bool = False
    """The blocks of the transformer are compiled by torch.compile, once per context length. Exact. Rotations
    are real then, as compilers have no complex numbers."""
    trim_guidance: bool = False
    """The negative prompt is left out of the last pass of a chunk, which cannot change the actions any more.
    The actions are exact; the last step of the dreamed video is not guided."""
    graphs: bool = False
    """Passes of the transformer are recorded as CUDA graphs, once per kind of call, and replayed. Exact. Only
    on a CUDA device, by one process alone."""
    float8_cache: bool = False
    """Keys and values of earlier calls are stored as float8, with a scale per token and head: half the memory
    and no more speed. Not exact; docs/performance.md has the error."""


EAGER = Switches()
"""The plain engine."""

EXACT = Switches(
    shared_times=True, real_rotation=True, batch_guidance=True, merge_padding=True, fuse_observation=True
)
"""All that is exact and costs nothing at the start."""

FULL = replace(EXACT, pick_attention=True, compile=True, trim_guidance=True)
"""All that leaves the actions as they are and runs on any device."""

PRESETS = {"eager": EAGER, "exact": EXACT, "full": FULL}

NAMES = tuple(field.name for field in fields(Switches))


def switches(names: Iterable[str]) -> Switches:
    """Return the switches of these names, turned on.

    Raises:
        ValueError: If there is no switch of a name; the message names the nearest one.
    """
    chosen = list(names)
    for name in chosen:
        if name not in NAMES:
            known = (*PRESETS, *NAMES)
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"unknown speed-up {name!r}: expected some of {', '.join(known)}, with commas between them; "
                f"nearest is {nearest!r}"
            )
    return replace(EAGER, **dict.fromkeys(chosen, True))


def parse_switches(text: str) -> Switches:
    """Return the switches of presets and names with commas between them, all of them together.

    Raises:
        ValueError: If there is none of a name; the message names the nearest one.
    """
    names: list[str] = []
    for word in text.split(","):
        names += _names(PRESETS[word]) if word in PRESETS else [word]
    return switches(names)


def in_words(chosen: Switches) -> str:
    """Name the switches that are on."""
    return ", ".join(_names(chosen)) or "none"


def _names(chosen: Switches) -> list[str]:
    return [name for name in NAMES if getattr(chosen, name)]
