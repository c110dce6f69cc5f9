# SPDX-License-Identifier: Apache-2.0
"""Calls leave nothing behind: neither tensors nor memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest
import torch
from rollouts import INSTRUCTION, inputs

from dreamzero_ros.engine.config import SamplerConfig, variant
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, FULL, Switches
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

WINDOWS_BEFORE = 5
"""Of five calls: the caches of allocators and compilers are full after the first ones."""
GROWTH_MB = 4.0


def session(switches: Switches) -> Session:
    engine = random_engine("tiny", "cpu", torch.float32)
    return Session(engine, SamplerConfig(num_steps=2, dit_steps=2), switches=switches)


def roll(used: Session, windows: int) -> float:
    """The most memory after any call [MB]: allocators give some back now and then."""
    most_mb = 0.0
    calls = inputs(variant("tiny"))
    for images, state in islice(cycle(calls), windows * len(calls)):
        used.step(images, state, INSTRUCTION)
        most_mb = max(most_mb, resident_mb())
    return most_mb


def test_calls_leave_no_tensor_behind() -> None:
    used = session(EAGER)
    roll(used, 2)
    tensors = count_tensors()
    roll(used, 2)
    assert count_tensors() == tensors


@pytest.mark.slow
@pytest.mark.parametrize("switches", [EAGER, FULL], ids=["eager", "full"])
def test_two_hundred_calls_take_hardly_any_memory(
    switches: Switches, request: pytest.FixtureRequest, figures: Callable[[str, float], None]
) -> None:
    used = session(switches)
    roll(used, WINDOWS_BEFORE)
    tensors = count_tensors()  # takes memory itself, so no other count until the end
    before_mb, after_mb = roll(used, WINDOWS_BEFORE), roll(used, 40)
    which = request.node.callspec.id
    figures(f"growth of memory over two hundred calls, {which} [MB]", after_mb - before_mb)
    assert count_tensors() == tensors
    assert after_mb - before_mb < GROWTH_MB


def count_tensors() -> int:
    gc.collect()
    return sum(type(thing) is torch.Tensor for thing in gc.get_objects())


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
