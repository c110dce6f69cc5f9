# SPDX-License-Identifier: Apache-2.0
"""Device and memory of the model."""

from __future__ import annotations

import torch

from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.memory import Memory, needed_memory
from dreamzero_ros.engine.sharing import Sharing
from dreamzero_ros.engine.switches import parse_switches
from dreamzero_ros.policy.dreamzero_factory import sharing_of
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.rows import Row, failed, failed_with, passed, warned

WORKSPACE_SHARE = 0.1
"""Share of weights and caches that should be free beyond them, for what is in between in a call."""
GB = 1e9
TRIAL = "tiny"
"""The variant that is made for CPUs."""


def check_device(parameters: PolicyParameters, engine: Engine) -> list[Row]:
    """Compares what the model needs with what its devices have free."""
    try:
        sharing = sharing_of(parameters, engine)
        need = _needed(parameters, engine, sharing)
    except ValueError as error:
        return [failed_with("device", error, "correct the parameter")]
    if sharing.devices[0].type == "cpu":
        return [_check_cpu(parameters, engine, sharing, need)]
    return [_check_gpu(device, _in_words(parameters, need), need) for device in sharing.devices]


def _check_cpu(parameters: PolicyParameters, engine: Engine, sharing: Sharing, need: Memory) -> Row:
    needed = _in_words(parameters, need)
    if len(sharing.devices) > 1:
        needed += f" for each of {len(sharing.devices)} processes"
    if engine.config.name == TRIAL:
        return passed("device", f"{parameters.device}: no GPU memory is needed; {needed} of main memory")
    finding = f"{parameters.device}: a chunk of {engine.config.name} takes minutes; {needed}"
    return warned("device", finding, "device:=cuda on a machine with a GPU")


def _check_gpu(device: torch.device, needed: str, need: Memory) -> Row:
    index = device.index or 0
    if index >= torch.cuda.device_count():
        finding = f"{device}: torch sees {torch.cuda.device_count()} CUDA devices"
        return failed("device", finding, "look at nvidia-smi and at torch's CUDA build, or device:=cpu")
    name = torch.cuda.get_device_name(index)
    return _compare(f"{device}, {name}", needed, need.total, *torch.cuda.mem_get_info(index))


def _in_words(parameters: PolicyParameters, need: Memory) -> str:
    formats = parameters.dtype if parameters.linear_format == "native" else parameters.linear_format
    return f"{_gb(need.weights)} of weights and {_gb(need.caches)} of caches ({formats})"


def _needed(parameters: PolicyParameters, engine: Engine, sharing: Sharing) -> Memory:
    return needed_memory(
        engine.config,
        getattr(torch, parameters.dtype),
        sharing.branches > 1,
        engine.config.transformer.num_heads // sharing.sharers,
        linear_format=parameters.linear_format,
        offload_text=parameters.offload_text_encoder,
        float8_cache=parse_switches(parameters.speedups).float8_cache,
    )


def _compare(name: str, needed: str, need: int, free: int, total: int) -> Row:
    finding = f"{name}: {needed}; {_gb(free)} of {_gb(total)} are free"
    if free < need:
        smaller = "offload_text_encoder:=true, linear_format:=fp8 or speedups:=full,float8_cache take less"
        return failed(
            "device", finding, f"end other users of the GPU (nvidia-smi), or take a larger one; {smaller}"
        )
    if free < need * (1 + WORKSPACE_SHARE):
        return warned("device", f"{finding}, little beyond", "end other users of the GPU (nvidia-smi)")
    return passed("device", finding)


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB" if size >= GB / 10 else f"{size / GB * 1000:.0f} MB"
