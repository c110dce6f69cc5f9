# SPDX-License-Identifier: Apache-2.0
"""What the report measures, most valuable first; each stage is a process of its own."""

from __future__ import annotations

from dataclasses import dataclass

HERE = "dreamzero_ros.bench.gpu"


@dataclass(frozen=True)
class Stage:
    """One process of the report."""

    number: int
    """Its place in the report, with which the names of its files begin."""
    name: str
    title: str
    parts: str
    """`module:function` that is given the device and the sizes, and yields the parts."""
    limit_s: float
    """How long it may take in a report of the usual time [s]; generous, as that time is limited, too."""


STAGES = (
    Stage(1, "device", "The device and its measured peaks", f"{HERE}.device:peaks", 60),
    Stage(2, "correctness", "Is it right here?", f"{HERE}.correctness:correctness", 180),
    Stage(3, "large_model", "The large model", f"{HERE}.models:large_model", 240),
    Stage(4, "large_model_fp8", "The large model in fp8", f"{HERE}.models:large_model_fp8", 180),
    Stage(5, "second_model", "The second model", f"{HERE}.models:second_model", 120),
)


def chosen_stages(names: str) -> tuple[Stage, ...]:
    """Return the stages of these names, with commas between them; none: all.

    Raises:
        ValueError: If there is none of a name; says which there are.
    """
    wanted = [name for name in names.split(",") if name]
    known = {stage.name: stage for stage in STAGES}
    for name in wanted:
        if name not in known:
            raise ValueError(f"--stages: expected some of {','.join(known)}, got {name!r}")
    return tuple(stage for stage in STAGES if not wanted or stage.name in wanted)
