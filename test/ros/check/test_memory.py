# SPDX-License-Identifier: Apache-2.0
"""What the model needs against what the device has; the sizes of GPUs are those of a pretended one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dreamzero_ros.engine.weights import meta_engine
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.memory import check_device
from dreamzero_ros.ros.check.rows import Result

pytestmark = pytest.mark.ros

GB = 1_000_000_000
LARGE = meta_engine("wan21_14b")
"""Needs 60 GB."""


@pytest.mark.parametrize(("free_gb", "result"), [(40, Result.FAIL), (62, Result.WARN), (70, Result.PASS)])
def test_a_gpu_is_judged_by_what_is_free(
    free_gb: int, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free_gb * GB, 80 * GB))
    (row,) = check_device(PolicyParameters(device="cuda"), LARGE)
    assert row.result is result and f"{free_gb}.0 GB of 80.0 GB are free" in row.finding
    assert "45.8 GB of weights and 14.3 GB of caches" in row.finding


@pytest.mark.parametrize(
    ("chosen", "gb"),
    [
        ({"offload_text_encoder": True}, ("34.5", "14.3")),
        ({"speedups": "float8_cache"}, ("45.8", "8.0")),
    ],
)
def test_what_takes_less_memory_is_judged_so(chosen: dict[str, Any], gb: tuple[str, str]) -> None:
    (row,) = check_device(PolicyParameters(device="cpu", **chosen), LARGE)
    assert f"{gb[0]} GB of weights and {gb[1]} GB of caches" in row.finding


def test_fewer_bits_take_less_memory() -> None:
    pytest.importorskip("torchao", reason="torchao is not installed: requirements/torchao.txt")
    (row,) = check_device(PolicyParameters(device="cpu", linear_format="fp8"), LARGE)
    assert "35.0 GB of weights and 14.3 GB of caches (fp8)" in row.finding


def test_speedups_that_do_not_exist_fail_the_check() -> None:
    (row,) = check_device(PolicyParameters(device="cpu", speedups="ful"), LARGE)
    assert row.result is Result.FAIL and "unknown speed-up 'ful'" in row.finding


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    (row,) = check_device(PolicyParameters(device="cuda:1"), LARGE)
    assert row.result is Result.FAIL and "cuda:1: torch sees 1 CUDA devices" in row.finding


def test_without_guidance_one_cache_is_enough() -> None:
    parameters = PolicyParameters(device="cpu", guidance_scale=1.0)
    assert "7.1 GB of caches" in check_device(parameters, LARGE)[0].finding


def test_a_cpu_is_for_the_tiny_model() -> None:
    parameters = PolicyParameters(device="cpu", dtype="float32")
    assert check_device(parameters, meta_engine("tiny"))[0].result is Result.PASS
    assert check_device(parameters, LARGE)[0].result is Result.WARN


def test_several_gpus_divide_the_caches_and_are_judged_each(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {0: 70 * GB, 1: 40 * GB}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free[index], 80 * GB))
    first, second = check_device(PolicyParameters(device="cuda:0,cuda:1"), LARGE)
    assert (first.result, second.result) == (Result.PASS, Result.FAIL)
    assert "45.8 GB of weights and 7.1 GB of caches" in first.finding
    assert "cuda:1" in second.finding and "40.0 GB of 80.0 GB are free" in second.finding


def test_devices_that_cannot_share_the_model_are_said() -> None:
    (row,) = check_device(PolicyParameters(device="cpu,cpu,cpu"), LARGE)
    assert row.result is Result.FAIL and "its 40 heads cannot be divided by 3" in row.finding
    assert row.fix == "name 1 or 2 of them"


def test_processes_on_a_cpu_need_main_memory_each() -> None:
    parameters = PolicyParameters(device="cpu,cpu", dtype="float32")
    assert "for each of 2 processes" in check_device(parameters, meta_engine("tiny"))[0].finding
