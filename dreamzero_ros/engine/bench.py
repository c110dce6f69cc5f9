# SPDX-License-Identifier: Apache-2.0
"""Times the engine with random weights.

A window of calls warms up and is not counted. Calls that begin a window are listed apart from those that
continue one, because they encode other images. Times are medians.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamzero_ros.engine.config import VARIANTS, ModelConfig, SamplerConfig
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.stepcache import STEP_MASKS
from dreamzero_ros.engine.weights import meta_engine, random_engine

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LARGEST = "wan21_14b"
"""Variant whose construction without memory is timed in every run."""

IMAGES_PER_CALL = 4
PROMPT = "A multi-view video shows that a robot puts the cup on the plate."


@dataclass(frozen=True)
class Call:
    """One measured chunk."""

    begins: bool
    """Whether it began a window."""
    computed: int
    """Solver steps that ran the transformer."""
    stages_s: dict[str, float]
    """Time by stage [s]; `chunk` is the whole call, `decode` the dreamed video, which is not part of it."""


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Run the calls; returns medians by stage [s], peak memory [MB] and what was measured.

    Args:
        options: What `add_arguments` defines.
    """
    meta = _measure_meta()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    engine = random_engine(options.variant, options.device, DTYPES[options.dtype])
    session = Session(engine, sampler(options.steps))
    warm_up = engine.config.transformer.max_chunk_size
    calls = [_call(session, engine.config, engine.device) for _ in range(warm_up + options.calls)][warm_up:]
    return {
        "variant": options.variant,
        "device": _device_name(engine.device),
        "dtype": options.dtype,
        "steps": options.steps,
        "calls": len(calls),
        "computed_steps": statistics.median(call.computed for call in calls),
        "continue_s": _medians([call for call in calls if not call.begins]),
        "begin_s": _medians([call for call in calls if call.begins]),
        "peak_memory_mb": round(_peak_memory_mb(engine.device)),
        "peak_memory_of": "device" if engine.device.type == "cuda" else "process",
        "meta": meta,
    }


def sampler(steps: str) -> SamplerConfig:
    """Return the sampler that runs the transformer so many times per chunk.

    For the numbers that have a mask, and for `dynamic`, it takes the usual steps and reuses flows in some;
    for any other number it takes that many steps and computes each.
    """
    if steps == "dynamic":
        return SamplerConfig(dit_steps="dynamic")
    count = int(steps)
    if count in STEP_MASKS:
        return SamplerConfig(dit_steps=count)
    return SamplerConfig(num_steps=count, dit_steps=count)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `measure`."""
    parser.add_argument("--variant", choices=VARIANTS, default="tiny")
    parser.add_argument("--device", default="cpu", help="as in torch: cpu, cuda, cuda:1")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--steps", default="8", help="transformer runs per chunk, or dynamic")
    parser.add_argument("--calls", type=int, default=8, help="measured chunks, after one window of warm-up")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; its own choice by default")


def _measure_meta() -> dict[str, float | str]:
    """Construct the largest variant without memory for its weights, first thing in the process."""
    start = time.perf_counter()
    meta_engine(LARGEST)
    seconds = time.perf_counter() - start
    return {"variant": LARGEST, "seconds": round(seconds, 3), "process_mb": round(_resident_peak_mb())}


def _call(session: Session, config: ModelConfig, device: torch.device) -> Call:
    count = IMAGES_PER_CALL if session.next_frame else 1
    images = torch.randint(256, (1, count, config.canvas_height, config.canvas_width, 3), dtype=torch.uint8)
    transformer = config.transformer
    state = torch.rand(1, transformer.num_state_per_block, transformer.max_state_dim) * 2 - 1
    start = time.perf_counter()
    result = session.step(images, state, PROMPT)
    _wait(device, result.actions)
    chunk = time.perf_counter() - start
    start = time.perf_counter()
    _wait(device, session.decode(result.video))
    decode = time.perf_counter() - start
    return Call(result.reset, sum(result.computed), {**result.latency_s, "chunk": chunk, "decode": decode})


def _wait(device: torch.device, result: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    assert torch.isfinite(result).all(), "random weights give finite results"


def _medians(calls: Sequence[Call]) -> dict[str, float]:
    stages = dict.fromkeys(stage for call in calls for stage in call.stages_s)
    return {stage: round(statistics.median(call.stages_s[stage] for call in calls), 4) for stage in stages}


def print_table(report: dict[str, object]) -> None:
    """Print what `measure` returned."""
    print(
        f"{report['variant']} with random weights, {report['dtype']}, {report['device']}: "
        f"{report['computed_steps']} transformer runs per chunk, {report['calls']} chunks"
    )
    begin, proceed = report["begin_s"], report["continue_s"]
    assert isinstance(begin, dict)
    assert isinstance(proceed, dict)
    print(f"{'median [ms]':<16}{'begin a window':>16}{'continue':>16}")
    for stage in sorted({*begin, *proceed}, key=lambda stage: (stage in ("chunk", "decode"), stage)):
        cells = [f"{1000 * column[stage]:.1f}" if stage in column else "-" for column in (begin, proceed)]
        print(f"{stage:<16}{cells[0]:>16}{cells[1]:>16}")
    print(f"peak memory of the {report['peak_memory_of']}: {report['peak_memory_mb']} MB")
    meta = report["meta"]
    assert isinstance(meta, dict)
    print(
        f"{meta['variant']} on the meta device: {meta['seconds']} s, process at {meta['process_mb']} MB "
        f"with its libraries"
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def _peak_memory_mb(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else _resident_peak_mb()


def _resident_peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
