# SPDX-License-Identifier: Apache-2.0
"""Where the time of a chunk goes: kernels by kind, and how long the device waits for the host."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from dreamzero_ros.bench.gpu.device import wait
from dreamzero_ros.bench.gpu.results import Result

KINDS = {
    "attention": r"flash|fmha|attention|sdpa|mha_",
    "convolution": r"conv|fprop|winograd|im2col|vol2col",
    "matrix products": r"gemm|gemv|nvjet|cublas|cutlass|xmma|splitk|_mm\b|::mm|::bmm|addmm|matmul|triton_tem",
    "copies": r"memcpy|memset|copy|CatArray|::cat|::clone|fill",
    "normalisation, elementwise": r"triton|elementwise|norm|reduce|softmax|gelu|silu|rsqrt|index|upsample"
    r"|::(add|sub|mul|div|pow|mean|sum|where|clamp|cos|sin|exp|polar|sigmoid|arange|amax|abs|to\b)",
}
"""Kinds of kernels of a GPU, or operators of a CPU, by what is in their names; the first that fits counts."""
OTHER = "other"
WORST = 6
"""Kernels that are named one by one."""
NAME_WIDTH = 72
"""Of such a name [columns]."""

Span = tuple[str, float, float]
"""Name, begin and end of a kernel [us]."""


def kind_of(name: str) -> str:
    """Return the kind of a kernel or operator."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.I)), OTHER)


def breakdown(device: torch.device, call: Callable[[], object]) -> Result:
    """Profile one call.

    Args:
        device: What is watched: the kernels of a GPU, or the operators of a CPU.
        call: Warmed up before.
    """
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorded:
        call()
        wait(device)
    if on_gpu:
        spans = [
            (event.name, event.time_range.start, event.time_range.end)
            for event in recorded.events()
            if event.device_type == DeviceType.CUDA and not event.is_user_annotation
        ]
        if not spans:
            return Result("one chunk", error="the profiler saw no kernel of the GPU")
        return summary(spans)
    result = summary(_self_times(recorded.key_averages()))
    result.notes.append("operators of a CPU by the time that they take themselves")
    return result


def summary(spans: list[Span]) -> Result:
    """Sum up kernels by kind, from the begin of the first to the end of the last."""
    begin, end = min(span[1] for span in spans), max(span[2] for span in spans)
    whole = end - begin
    by_kind: dict[str, list[float]] = defaultdict(list)
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, first, last in spans:
        by_kind[kind_of(name)].append(last - first)
        by_name[name].append(last - first)
    idle = whole - _covered(spans)
    rows: list[Sequence[str]] = [
        (kind, f"{len(times)}", f"{sum(times) / 1e3:.1f}", f"{100 * sum(times) / whole:.1f} %")
        for kind, times in sorted(by_kind.items(), key=lambda item: -sum(item[1]))
    ]
    rows.append(("nothing: waits for the host", "", f"{idle / 1e3:.1f}", f"{100 * idle / whole:.1f} %"))
    worst = sorted(by_name.items(), key=lambda item: -sum(item[1]))[:WORST]
    notes = [
        f"{100 * sum(times) / whole:.1f} %, {len(times)} times: `{name[:NAME_WIDTH]}`"
        for name, times in worst
    ]
    shares = {kind: sum(times) / whole for kind, times in by_kind.items()} | {"idle": idle / whole}
    return Result(
        f"{whole / 1e3:.1f} ms",
        ("kind", "number", "ms", "of the time"),
        rows,
        notes,
        figures={"shares": shares},
    )


def _covered(spans: Iterable[Span]) -> float:
    """Time in which at least one kernel runs [us]."""
    covered, reached = 0.0, float("-inf")
    for _, first, last in sorted(spans, key=lambda span: span[1]):
        covered += max(0.0, last - max(first, reached))
        reached = max(reached, last)
    return covered


def _self_times(averages: Iterable[Any]) -> list[Span]:
    """Put the operators of a CPU one after the other, by the time that each takes itself."""
    spans, at = [], 0.0
    for event in averages:
        spans.append((event.key, at, at + event.self_cpu_time_total))
        at += event.self_cpu_time_total
    return spans
