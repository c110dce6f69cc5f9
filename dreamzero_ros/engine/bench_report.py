# SPDX-License-Identifier: Apache-2.0
"""What a bench of the engine says, in numbers and in tables."""

from __future__ import annotations

import resource
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from dreamzero_ros.engine.config import ModelConfig, SamplerConfig
from dreamzero_ros.engine.flops import chunk_flops
from dreamzero_ros.engine.switches import Switches

QUANTILES = {"median": 50, "p90": 90, "p99": 99}
WIDTH = 100
"""Of what is printed [columns]."""


class Timing(Protocol):
    """A measured chunk."""

    @property
    def begins(self) -> bool:
        """Whether it began a window."""

    @property
    def stored_frames(self) -> int:
        """Latent frames in the cache when it began."""

    @property
    def computed(self) -> int:
        """Solver steps that ran the transformer."""

    @property
    def stages_s(self) -> Mapping[str, float]:
        """Time by stage [s]."""


@dataclass(frozen=True)
class Rung:
    """The measured chunks of one choice of switches."""

    name: str
    switches: Switches
    speedups: str
    """What is on and what was measured for it, in words."""
    calls: Sequence[Timing]
    memory_mb: float
    error: tuple[float, ...] | None
    """Largest difference of actions and of dreamed latents from the plain engine's, where that ran too."""


def rung_report(config: ModelConfig, sampler: SamplerConfig, rung: Rung, peak_flops: float) -> dict[str, Any]:
    """Say what was measured of one choice of switches, times in seconds.

    The newest image is as old as the chunk took when the actions are there: it is given with the call.
    """
    seconds = sum(call.stages_s["chunk"] for call in rung.calls)
    flops = sum(rung_flops(config, sampler, rung.switches, call) for call in rung.calls)
    continues = [call for call in rung.calls if not call.begins]
    return {
        "name": rung.name,
        "switches": [name for name, on in asdict(rung.switches).items() if on],
        "speedups": rung.speedups,
        "computed_steps": float(np.median([call.computed for call in rung.calls])),
        "continue_s": _quantiles(continues),
        "begin_s": _quantiles([call for call in rung.calls if call.begins]),
        "chunks_per_s": round(len(rung.calls) / seconds, 3),
        "tflops": round(flops / seconds / 1e12, 4),
        "share_of_peak": round(flops / seconds / peak_flops, 4),
        "memory_mb": round(rung.memory_mb),
        "action_error": None if rung.error is None else float(f"{rung.error[0]:.2g}"),
        "video_error": None if rung.error is None else float(f"{rung.error[1]:.2g}"),
    }


def print_table(report: Mapping[str, Any]) -> None:
    """Print what `measure` returned: one choice of switches by stage, or a ladder."""
    rungs = report["rungs"]
    print(
        f"{report['variant']} with random weights, {report['dtype']}, {report['device']}: "
        f"{rungs[0]['computed_steps']:g} transformer runs per chunk, {report['calls']} chunks"
    )
    if report["devices"] > 1:
        print(f"{report['sharing']}; memory is that of the first")
    if len(rungs) == 1:
        _print_stages(rungs[0])
    else:
        _print_ladder(rungs)
    meta = report["meta"]
    peaks = ", ".join(f"{peak:g} TFLOP/s {name}" for name, peak in report["peak_tflops"].items())
    print(f"measured peak of matrix products: {peaks}")
    print(f"{meta['variant']} on the meta device: {meta['seconds']} s, process at {meta['process_mb']} MB")


def _print_stages(rung: Mapping[str, Any]) -> None:
    _print_speedups(rung)
    begin, proceed = rung["begin_s"], rung["continue_s"]
    heads = ["begin a window", *(f"continue {name}" for name in QUANTILES)]
    print(f"{'[ms]':<14}" + "".join(f"{head:>17}" for head in heads))
    for stage in sorted({*begin, *proceed}, key=lambda stage: (stage in ("chunk", "decode"), stage)):
        cells = [begin.get(stage, {}).get("median")] + [
            proceed.get(stage, {}).get(name) for name in QUANTILES
        ]
        print(f"{stage:<14}" + "".join(f"{'-' if s is None else f'{1e3 * s:.1f}':>17}" for s in cells))
    print(
        f"{rung['chunks_per_s']:g} chunks/s, {rung['tflops']:g} TFLOP/s, {100 * rung['share_of_peak']:.0f} % "
        f"of the measured peak, peak memory {rung['memory_mb']} MB"
    )
    print("the newest image is as old as the chunk took when its actions are ready")


def _print_ladder(rungs: Sequence[Mapping[str, Any]]) -> None:
    heads = ("median", "p90", "p99", "ratio", "1/s", "TFLOP/s", "of peak", "MB", "error")
    widths = (8, 8, 8, 7, 7, 9, 9, 8, 9)
    print("chunks that continue a window [ms]; error: of the actions, against the plain engine")
    print(f"{'switched on':<20}" + "".join(f"{head:>{w}}" for head, w in zip(heads, widths, strict=True)))
    plain = rungs[0]["continue_s"]["chunk"]["median"]
    for rung in rungs:
        chunk = rung["continue_s"]["chunk"]
        cells = (
            *(f"{1e3 * chunk[name]:.1f}" for name in QUANTILES),
            f"{plain / chunk['median']:.2f}",
            f"{rung['chunks_per_s']:.2f}",
            f"{rung['tflops']:.3g}",
            f"{100 * rung['share_of_peak']:.0f} %",
            str(rung["memory_mb"]),
            f"{rung['action_error']:.1e}",
        )
        print(f"{rung['name']:<20}" + "".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True)))
    _print_speedups(rungs[-1])


def _print_speedups(rung: Mapping[str, Any]) -> None:
    print(textwrap.fill(f"speed-ups: {rung['speedups']}", WIDTH, break_on_hyphens=False))


def resident_peak_mb() -> float:
    """Largest memory of this process so far [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def rung_flops(config: ModelConfig, sampler: SamplerConfig, on: Switches, call: Timing) -> float:
    """Return the operations of the transformer in a measured chunk."""
    branches = 1 if sampler.guidance_scale == 1 or (on.trim_guidance and call.computed == 1) else 2
    unguided = 1 if branches == 2 and on.trim_guidance else 0
    return chunk_flops(config, call.stored_frames, call.computed, branches, unguided)


def _quantiles(calls: Sequence[Timing]) -> dict[str, dict[str, float]]:
    stages = dict.fromkeys(stage for call in calls for stage in call.stages_s)
    return {
        stage: {
            name: round(float(np.percentile([call.stages_s[stage] for call in calls], quantile)), 5)
            for name, quantile in QUANTILES.items()
        }
        for stage in stages
    }
