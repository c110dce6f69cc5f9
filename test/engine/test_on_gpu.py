# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can show of the speed-ups: recorded calls, with compiled blocks or without."""

from __future__ import annotations

import pytest
import torch
from rollouts import inputs, roll

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, parse_switches
from dreamzero_ros.engine.weights import random_engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
"""Kernels of a GPU sum in other orders than one another."""


@pytest.mark.parametrize("speedups", ["exact,pick_attention,graphs", "full,graphs"])
def test_recorded_calls_change_no_action(speedups: str) -> None:
    """In the window that records them and in the next one, which replays all of them."""
    engine = random_engine("tiny", "cuda", torch.float32, seed=3)
    sampler = SamplerConfig(num_steps=4, dit_steps=4)
    fast = Session(engine, sampler, switches=parse_switches(speedups))
    plain = Session(engine, sampler, switches=EAGER)
    for seed in (0, 1):
        calls = inputs(engine.config, seed=seed)
        for ours, truth in zip(roll(fast, calls).results, roll(plain, calls).results, strict=True):
            torch.testing.assert_close(ours.actions, truth.actions, **CLOSE)
