# SPDX-License-Identifier: Apache-2.0
"""What a device is, and what it reaches at best: products of matrices and copies."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import torch

from dreamzero_ros.bench.gpu.results import Part, Result
from dreamzero_ros.bench.gpu.sizes import Sizes
from dreamzero_ros.engine.flops import PEAK_SIZE, measured_peak_flops

LIBRARIES = ("torch", "triton", "numpy", "diffusers", "transformers", "torchao")
COPIES = 10
SUSTAINED_S = {"cuda": 2.0, "cpu": 0.2}
"""How long products are repeated without a pause, so that clocks and power settle [s]."""
IN_A_ROW = {"cuda": 10, "cpu": 1}
"""Products that are queued before the host waits for them."""
FLOAT8 = torch.float8_e4m3fn


def environment(device: torch.device) -> dict[str, str]:
    """Say what the report was made on: device, driver and versions."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    told = {"device": f"cpu, {torch.get_num_threads()} threads", "driver": "none", **versions}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        name = f"{card.name}, {card.total_memory / 1e9:.0f} GB, {card.multi_processor_count} multiprocessors"
        told |= {"device": name, "driver": _driver(), "cuda": str(torch.version.cuda)}
    return told | {"python": platform.python_version()}


def peaks(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """Measure what the device reaches at best."""
    yield Part("products of matrices", lambda: products(device, sizes.dtype))
    yield Part("copy", lambda: copy(device, sizes.copy_bytes))


def products(device: torch.device, dtype: torch.dtype) -> Result:
    """Multiply square matrices in a type and in fp8: now and then, and without a pause."""
    side = PEAK_SIZE[device.type]
    result = Result(f"{side} x {side} x {side}", ("type", "best [TFLOP/s]", "sustained [TFLOP/s]"))

    def add(name: str, best: float | None, sustained: float | None) -> None:
        cells = ("-" if flops is None else f"{flops / 1e12:.4g}" for flops in (best, sustained))
        result.rows.append((name, *cells))
        result.figures[name] = {"best_flops": best, "sustained_flops": sustained}

    left, right = torch.randn(2, side, side, device=device).to(dtype).unbind()
    best = measured_peak_flops(device, dtype)
    name = str(dtype).removeprefix("torch.")
    add(name, best, sustained_flops(device, side, lambda: torch.mm(left, right)))
    try:
        best = measured_peak_flops(device, dtype, "fp8")
    except ValueError as error:
        result.notes.append(f"fp8: skipped, {error}")
        return result
    narrow_left, narrow_right = left.to(FLOAT8), right.to(FLOAT8).t()  # the second one by columns, as it must
    row_scales, column_scales = torch.ones(2, side, device=device).unbind()

    def narrow_product() -> None:
        torch._scaled_mm(
            narrow_left,
            narrow_right,
            row_scales[:, None],
            column_scales[None],
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )

    try:
        add("fp8, operands in fp8", None, sustained_flops(device, side, narrow_product))
    except RuntimeError as error:
        result.notes.append(f"fp8 without quantizing: {str(error).splitlines()[0]}")
    add("fp8, activations quantized", best, None)
    result.notes.append("fp8 with activations quantized at every product, as the model does it, is its peak")
    return result


def sustained_flops(device: torch.device, side: int, multiply: Callable[[], object]) -> float:
    """Return the operations per second of products one after the other."""
    multiply()
    wait(device)
    begin, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - begin) < SUSTAINED_S[device.type]:
        for _ in range(IN_A_ROW[device.type]):
            multiply()
        wait(device)
        count += IN_A_ROW[device.type]
    return 2 * side**3 * count / taken


def copy(device: torch.device, size: int) -> Result:
    """Copy a buffer on the device, and count what is read and what is written."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    wait(device)
    best = float("inf")
    for _ in range(COPIES):
        begin = time.perf_counter()
        target.copy_(source)
        wait(device)
        best = min(best, time.perf_counter() - begin)
    speed = 2 * size / best
    return Result(
        f"{size / 1e9:g} GB on the device",
        ("read and written [TB/s]",),
        [(f"{speed / 1e12:.3g}",)],
        figures={"bytes_per_s": speed},
    )


def wait(device: torch.device) -> None:
    """Wait for all that is queued on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _driver() -> str:
    if not shutil.which("nvidia-smi"):
        return "unknown: no nvidia-smi here"
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    return told.stdout.split("\n")[0].strip() or "unknown"
