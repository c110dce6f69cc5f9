# SPDX-License-Identifier: Apache-2.0
"""Stored keys and values in eight bits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rollouts import Rollout, inputs, relative_errors, roll

from dreamzero_ros.engine.attention import CachedAttention
from dreamzero_ros.engine.cache import KVCache
from dreamzero_ros.engine.config import TINY, SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.float8_cache import LARGEST, SMALLEST_SCALE, narrow, widen
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, EXACT, Switches
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

BOUNDS = (0.005, 0.01)
"""Largest relative errors of actions and of dreamed latents, as docs/performance.md states them."""
LEAST = 1e-5
CPU = torch.device("cpu")

floats = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return random_engine("tiny", "cpu", torch.float32, seed=3)


@given(st.lists(floats, min_size=1, max_size=8))
def test_narrow_numbers_are_near(row: list[float]) -> None:
    """Half a step of e4m3 is a sixteenth; numbers far below the largest of a token round in steps of it."""
    x = torch.tensor(row)
    narrowed, scale = narrow(x)
    error = (widen(narrowed, scale, torch.float32) - x).abs()
    step = scale * 2.0**-10
    assert torch.isfinite(error).all()
    assert (error <= torch.maximum(x.abs() / 16, step) * (1 + 1e-5)).all()


def test_narrow_zeros_stay_zeros() -> None:
    narrowed, scale = narrow(torch.zeros(2, 4))
    assert torch.equal(widen(narrowed, scale, torch.float32), torch.zeros(2, 4))
    assert torch.equal(scale, torch.full((2, 1), SMALLEST_SCALE / LARGEST))


@pytest.mark.parametrize(
    ("others", "steps"),
    [
        pytest.param(EXACT, 8, id="exact-8"),
        pytest.param(EAGER, 8, id="eager-8", marks=pytest.mark.slow),
        pytest.param(EAGER, 16, id="eager-16", marks=pytest.mark.slow),
        pytest.param(EXACT, 16, id="exact-16", marks=pytest.mark.slow),
    ],
)
def test_the_error_over_a_closed_loop_is_as_stated(engine: Engine, others: Switches, steps: int) -> None:
    def rolled(chosen: Switches) -> Rollout:
        session = Session(engine, SamplerConfig(dit_steps=steps), switches=chosen)
        return roll(session, inputs(engine.config))

    actual = rolled(replace(others, float8_cache=True))
    for error, bound in zip(relative_errors(actual, rolled(EAGER)), BOUNDS, strict=True):
        assert LEAST < error < bound


@pytest.mark.slow
def test_compiled_blocks_know_it(engine: Engine) -> None:
    def rolled(compiled: bool) -> Rollout:
        chosen = Switches(float8_cache=True, real_rotation=True, compile=compiled)
        session = Session(engine, SamplerConfig(dit_steps=8), switches=chosen)
        return roll(session, inputs(engine.config)[:2])

    assert max(relative_errors(rolled(True), rolled(False))) < max(BOUNDS)


def test_it_takes_half_the_memory_of_bfloat16() -> None:
    sizes = TINY.transformer
    wide = KVCache(sizes, 2, TINY.tokens_per_frame, CPU, torch.bfloat16)
    narrowed = KVCache(sizes, 2, TINY.tokens_per_frame, CPU, torch.bfloat16, float8=True)
    scales = 4 / (2 * sizes.head_dim)
    assert wide.nbytes == wide.storage.nbytes
    assert narrowed.nbytes == pytest.approx(wide.nbytes * (0.5 + scales))


def test_scales_move_with_the_oldest_frames_dropped() -> None:
    """Every call has numbers of another size, so that a scale of another frame would show."""
    caches = [KVCache(TINY.transformer, 1, 3, CPU, torch.float32, float8=float8) for float8 in (False, True)]
    heads, width = TINY.transformer.num_heads, TINY.transformer.head_dim
    for number in range(TINY.transformer.window_frames):
        start = caches[0].next_frame
        size = (1, 3 * caches[0].frames_from(start), heads, width)
        q, k, v = torch.randn(3, *size).unbind()
        for cache in caches:
            cache.begin(start)
            cache.attention(0)(q, k * 10.0**number, v * 10.0**number)
            cache.commit(start)
    wide, narrowed = caches
    assert wide.next_frame > wide.frames == TINY.transformer.window_frames, "some were dropped"
    scales = narrowed._scales[:1, :, :, : narrowed.stored.shape[3]]
    restored = widen(narrowed.stored[:1], scales, torch.float32)
    errors = (restored - wide.stored[:1]).abs()
    assert (errors <= wide.stored[:1].abs() / 16 + scales * 2.0**-10 * 1.001).all()


def test_the_call_itself_is_attended_to_as_it_is() -> None:
    cache = KVCache(TINY.transformer, 1, 3, CPU, torch.float32, float8=True)
    cache.begin(0)
    shape = (1, 3, TINY.transformer.num_heads, TINY.transformer.head_dim)
    q, k, v = torch.randn(3, *shape).unbind()
    expected = CachedAttention(torch.zeros(shape), torch.zeros(shape), 0)(q, k, v)
    assert torch.equal(cache.attention(0)(q, k, v), expected)
