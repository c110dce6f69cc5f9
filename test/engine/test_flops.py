# SPDX-License-Identifier: Apache-2.0
"""Counted operations against those that torch counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rollouts import INSTRUCTION, inputs
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dreamzero_ros.engine.config import SamplerConfig, variant
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.flops import chunk_flops, measured_peak_flops, pass_flops
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

CALLS = 3
CONDITIONS = 0.02
"""Share of the operations in embeddings of timesteps, which are no work for tokens and not counted."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return random_engine("tiny", "cpu", torch.float32)


@pytest.mark.parametrize(("guidance_scale", "branches"), [(5.0, 2), (1.0, 1)])
def test_chunks_are_counted_as_torch_counts(engine: Engine, guidance_scale: float, branches: int) -> None:
    session = Session(engine, SamplerConfig(dit_steps=5, guidance_scale=guidance_scale), switches=EAGER)
    for images, state in inputs(engine.config)[:CALLS]:
        stored = session.context_frames if session.next_frame else 0
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            session.step(images, state, INSTRUCTION)
        counted = counter.get_flop_counts()["WorldActionTransformer"]
        expected = chunk_flops(engine.config, stored, 5, branches)
        assert sum(counted.values()) == pytest.approx(expected, rel=CONDITIONS)


def test_the_large_model_takes_what_is_known_of_it() -> None:
    """About 60 TFLOP per pass and branch against a full cache of 7 frames."""
    config = variant("wan21_14b")
    assert pass_flops(config, 7, 0, dreams=True) == pytest.approx(57e12, rel=0.05)
    sizes = config.transformer
    longer = replace(config, transformer=replace(sizes, num_layers=2 * sizes.num_layers))
    ratio = pass_flops(longer, 7, 0, dreams=True) / pass_flops(config, 7, 0, dreams=True)
    assert ratio == pytest.approx(2, rel=0.01)


def test_one_unguided_pass_is_left_out() -> None:
    config = variant("wan21_14b")
    whole, trimmed = chunk_flops(config, 5, 8, 2), chunk_flops(config, 5, 8, 2, unguided=1)
    assert whole - trimmed == pytest.approx(pass_flops(config, 7, 0, dreams=True))


def test_a_peak_is_measured() -> None:
    assert 1e9 < measured_peak_flops(torch.device("cpu"), torch.float32) < 1e14
