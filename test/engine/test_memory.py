# SPDX-License-Identifier: Apache-2.0
"""The memory that is foretold is the memory that is taken."""

from __future__ import annotations

import pytest
import torch
from quiet import quiet_ranks
from torch.utils._python_dispatch import TorchDispatchMode

from dreamzero_ros.engine.assembly import parts
from dreamzero_ros.engine.config import TINY, WAN21_14B, LinearFormat, SamplerConfig
from dreamzero_ros.engine.linear_format import stored_bytes
from dreamzero_ros.engine.memory import needed_memory
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import Switches
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu


class Allocations(TorchDispatchMode):
    """Adds up the tensors of zeros that are made while it is on: caches are the large ones of a session."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.zeros.default:
            self.sizes.append(result.nbytes)
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("guided", [False, True])
def test_it_is_what_an_engine_and_a_session_take(dtype: torch.dtype, guided: bool) -> None:
    engine = random_engine("tiny", "cpu", dtype)
    with Allocations() as made:
        session = Session(engine, SamplerConfig(guidance_scale=5.0 if guided else 1.0))
    found = needed_memory(TINY, dtype, guided)
    assert found.weights == sum(p.nbytes for module in parts(engine) for p in module.parameters())
    assert found.caches == sum(sorted(made.sizes)[-2:])
    assert session.next_frame == 0


@pytest.mark.parametrize("linear_format", ["fp8_weights", "fp8"])
def test_fewer_bits_are_counted(linear_format: LinearFormat) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed: requirements/torchao.txt")
    engine = random_engine("tiny", "cpu", torch.bfloat16, linear_format=linear_format)
    found = needed_memory(TINY, torch.bfloat16, True, linear_format=linear_format)
    assert found.weights == sum(stored_bytes(p) for part in parts(engine) for p in part.parameters())
    assert found.weights < needed_memory(TINY, torch.bfloat16, True).weights


def test_a_text_encoder_in_main_memory_is_not_counted() -> None:
    engine = random_engine("tiny", "cpu", torch.float32)
    text = sum(p.nbytes for p in engine.text_encoder.parameters())
    everything, rest = (needed_memory(TINY, torch.float32, True, offload_text=off) for off in (False, True))
    assert everything.weights - rest.weights == text > 0


def test_float8_caches_are_counted() -> None:
    engine = random_engine("tiny", "cpu", torch.float32)
    session = Session(engine, SamplerConfig(), switches=Switches(float8_cache=True))
    found = needed_memory(TINY, torch.float32, True, float8_cache=True)
    assert found.caches == session._branches.cache.nbytes + session._branches.context.storage.nbytes


@pytest.mark.parametrize(("branches", "tokens"), [(2, 1), (1, 3), (2, 3)])
def test_ranks_divide_the_caches_of_self_attention_not_the_weights(branches: int, tokens: int) -> None:
    """What a rank stores is what its session has allocated."""
    engine = random_engine("tiny", "cpu", torch.float32)
    with Allocations() as made:
        Session(engine, SamplerConfig(), ranks=quiet_ranks(branches, tokens))
    found = needed_memory(TINY, torch.float32, guided=branches == 1, heads=3 // tokens)
    assert found.caches == sum(sorted(made.sizes)[-2:])
    assert found.weights == needed_memory(TINY, torch.float32, guided=True).weights


def test_the_large_variant_is_foretold_without_taking_it() -> None:
    """By hand, in bytes: two branches of keys and values in 40 layers of width 5120.

    Rows: 9 frames of 880 tokens, 25 actions and states, 257 + 512 of context.
    """
    found = needed_memory(WAN21_14B, torch.bfloat16, guided=True)
    assert found.weights == pytest.approx(46e9, rel=0.02)
    assert found.caches == 2 * 2 * 2 * 40 * 5120 * (9 * 880 + 25 + 257 + 512)
    assert found.total == found.weights + found.caches
