# SPDX-License-Identifier: Apache-2.0
"""Every speed-up but graphs against the plain engine, through a window and into the next one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from rollouts import ROUNDING, Rollout, assert_close, assert_equal, inputs, roll, share_of_largest
from torch._dynamo.exc import FailOnRecompileLimitHit

from dreamzero_ros.engine.block import MOST_SHAPES, compiled_block, many_shapes
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import (
    EAGER,
    EXACT,
    FULL,
    NAMES,
    Switches,
    in_words,
    parse_switches,
    switches,
)
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

SAMPLERS = {
    "all steps": SamplerConfig(dit_steps=16),
    "8 of 16 steps": SamplerConfig(dit_steps=8),
    "dynamic": SamplerConfig(dit_steps="dynamic"),
    "decoupled": SamplerConfig(dit_steps=5, video_final_noise=0.8),
    "unguided": SamplerConfig(dit_steps=5, guidance_scale=1.0),
    "one step": SamplerConfig(num_steps=1, dit_steps=1),
}
SWITCHED = {
    "shared_times": switches(["shared_times"]),
    "real_rotation": switches(["real_rotation"]),
    "batch_guidance": switches(["batch_guidance"]),
    "fuse_observation": switches(["fuse_observation"]),
    "merge_padding": switches(["merge_padding"]),
    "pick_attention": switches(["pick_attention"]),
    "exact": EXACT,
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return random_engine("tiny", "cpu", torch.float32, seed=3)


@pytest.fixture(scope="module")
def rolled(engine: Engine):
    """Rollouts by sampler, switches and batch, each computed once."""

    @functools.cache
    def rolled(name: str, chosen: Switches, batch: int = 1) -> Rollout:
        session = Session(engine, SAMPLERS[name], batch, switches=chosen)
        return roll(session, inputs(engine.config, batch))

    return rolled


ALONE = "dynamic"
"""The sampler with which each switch is tried alone, too; `make test-all` tries all with all."""
TOGETHER = ("8 of 16 steps", "decoupled", "one step")
"""Samplers with which all of them are tried together."""


def usual(switch: str, sampler: str) -> bool:
    """Whether `make test` tries it."""
    return sampler == ALONE or (switch == "exact" and sampler in TOGETHER)


@pytest.mark.parametrize(
    ("switch", "sampler"),
    [
        pytest.param(switch, sampler, marks=() if usual(switch, sampler) else pytest.mark.slow)
        for switch in SWITCHED
        for sampler in SAMPLERS
    ],
)
def test_exact_switches_change_nothing(rolled, switch: str, sampler: str) -> None:
    assert_equal(rolled(sampler, SWITCHED[switch]), rolled(sampler, EAGER))


def test_exact_switches_change_nothing_in_a_batch(rolled) -> None:
    assert_equal(rolled("8 of 16 steps", EXACT, 2), rolled("8 of 16 steps", EAGER, 2))


@pytest.mark.parametrize("sampler", ["8 of 16 steps", "one step"])
def test_the_bound_of_equality_is_that_of_the_numbers(
    rolled, sampler: str, figures: Callable[[str, float], None]
) -> None:
    """Weights moved in their last bit change as much as another order of sums; the bound is not far above."""
    moved = random_engine("tiny", "cpu", torch.float32, seed=3)
    generator = torch.Generator().manual_seed(0)
    for weight in moved.transformer.parameters():
        up_or_down = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
        weight.data.mul_(1 + up_or_down * torch.finfo(weight.dtype).eps / 2)
    found = roll(Session(moved, SAMPLERS[sampler], switches=EAGER), inputs(moved.config))
    for name in ("actions", "video"):
        largest = max(
            share_of_largest(getattr(got, name), getattr(wanted, name))
            for got, wanted in zip(found.results, rolled(sampler, EAGER).results, strict=True)
        )
        figures(f"weights moved in their last bit, {sampler}: {name} [share of the largest]", largest)
        assert ROUNDING / 100 < largest < ROUNDING / 3


def test_calls_differ_so_that_equality_means_something(rolled) -> None:
    actions = [result.actions for result in rolled("8 of 16 steps", EAGER).results]
    assert all((one - other).abs().max() > 1e-3 for one, other in pairwise(actions))


@pytest.mark.parametrize(
    ("others", "sampler"),
    [
        (EXACT, "8 of 16 steps"),
        (EXACT, "decoupled"),
        (EAGER, "dynamic"),
        pytest.param(EAGER, "all steps", marks=pytest.mark.slow),
        pytest.param(EAGER, "8 of 16 steps", marks=pytest.mark.slow),
        pytest.param(EAGER, "decoupled", marks=pytest.mark.slow),
        pytest.param(EXACT, "all steps", marks=pytest.mark.slow),
        pytest.param(EXACT, "dynamic", marks=pytest.mark.slow),
    ],
)
def test_without_guidance_in_the_last_pass_the_actions_stay(rolled, sampler: str, others: Switches) -> None:
    """So does the video up to the last step that runs the transformer."""
    trimmed = rolled(sampler, replace(others, trim_guidance=True))
    expected = rolled(sampler, EAGER)
    changes = []
    for got, wanted in zip(trimmed.results, expected.results, strict=True):
        assert_close(got.actions, wanted.actions)
        changes.append((got.video - wanted.video).abs().max())
    for steps, wanted_steps in zip(trimmed.steps, expected.steps, strict=True):
        last = max(step.index for step in wanted_steps if step.computed)
        for step, wanted in zip(steps[:last], wanted_steps[:last], strict=True):
            assert_close(step.video, wanted.video)
    trims = sampler != "dynamic" or any(steps[-1].computed for steps in expected.steps)
    assert (max(changes) > 1e-4) == trims


def test_one_step_without_guidance_in_the_last_pass_needs_no_negative_prompt(rolled, engine: Engine) -> None:
    trimmed = rolled("one step", switches(["trim_guidance"]))
    for got, wanted in zip(trimmed.results, rolled("one step", EAGER).results, strict=True):
        assert_close(got.actions, wanted.actions)
    halved, whole = (
        Session(engine, SAMPLERS["one step"], switches=chosen)._branches.cache.storage.nbytes
        for chosen in (switches(["trim_guidance"]), EAGER)
    )
    assert whole == 2 * halved


def test_passes_through_the_transformer_by_switch(engine: Engine) -> None:
    """What the switches that leave out passes leave out."""
    passes: list[int] = []
    handle = engine.transformer.register_forward_hook(lambda _, args, __: passes.append(len(args[0])))

    def counted(*names: str) -> list[int]:
        session = Session(engine, SAMPLERS["decoupled"], switches=switches(names))
        images, state = inputs(engine.config)[0]
        passes.clear()
        session.step(images, state, "go")
        return list(passes)

    assert counted() == [1] * 12
    assert counted("batch_guidance") == [2] * 6
    assert counted("fuse_observation") == [1] * 10
    assert counted("trim_guidance") == [1] * 11
    assert counted("batch_guidance", "fuse_observation", "trim_guidance") == [2] * 4 + [1]
    handle.remove()


@pytest.fixture
def fresh_blocks() -> Iterator[None]:
    """Blocks that nobody has compiled; what is compiled of them is forgotten after the test."""
    compiled_block.cache_clear()
    yield
    compiled_block.cache_clear()


@pytest.mark.usefixtures("fresh_blocks")
@pytest.mark.parametrize(
    ("sampler", "backend"),
    [
        ("one step", "eager"),
        *(
            pytest.param(sampler, backend, marks=pytest.mark.slow)
            for sampler, backend in (
                ("8 of 16 steps", "eager"),
                ("8 of 16 steps", "inductor"),
                ("all steps", "inductor"),
            )
        ),
    ],
)
def test_compiled_blocks_change_nothing_and_are_compiled_no_more_after_a_window(
    rolled, engine: Engine, sampler: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.compile is told not to break the graph; here it fails where it would compile again.

    The backend `eager` takes the graphs as they are, and does not spend minutes in a C++ compiler.
    """
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    rolled.cache_clear()
    chosen = replace(EXACT, compile=True)
    assert_equal(rolled(sampler, chosen), rolled(sampler, EAGER))
    session = Session(engine, SAMPLERS[sampler], switches=chosen)
    with torch.compiler.set_stance("fail_on_recompile"):
        roll(session, inputs(engine.config, seed=1))


@pytest.mark.usefixtures("fresh_blocks")
def test_the_compiler_changes_nothing(engine: Engine) -> None:
    """In a call that begins a window; further shapes compile in `make test-all`."""
    calls = inputs(engine.config)[:1]
    compiled, plain = (
        roll(Session(engine, SAMPLERS["one step"], switches=chosen), calls)
        for chosen in (replace(EXACT, compile=True), EAGER)
    )
    assert_equal(compiled, plain)


def test_blocks_are_compiled_for_more_shapes_than_torch_would_by_itself() -> None:
    def double(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    compiled = torch.compile(double, fullgraph=True, dynamic=False, backend="eager")
    with many_shapes():
        for size in range(1, MOST_SHAPES + 1):
            assert len(compiled(torch.ones(size))) == size
        with pytest.raises(FailOnRecompileLimitHit):
            compiled(torch.ones(MOST_SHAPES + 1))


def test_switches_by_name() -> None:
    assert switches([]) == EAGER
    assert switches(NAMES) == Switches(**dict.fromkeys(NAMES, True))
    assert [parse_switches(text) for text in ("eager", "exact", "full")] == [EAGER, EXACT, FULL]
    assert parse_switches("exact,full,graphs,float8_cache") == Switches(**dict.fromkeys(NAMES, True))
    assert parse_switches("eager,trim_guidance") == Switches(trim_guidance=True)
    some = parse_switches("compile,batch_guidance")
    assert (some.compile, some.batch_guidance, some.fuse_observation) == (True, True, False)
    assert in_words(some) == "batch_guidance, compile" and in_words(EAGER) == "none"
    with pytest.raises(
        ValueError, match=r"unknown speed-up 'bach_guidance': .*; nearest is 'batch_guidance'"
    ):
        parse_switches("compile,bach_guidance")
    with pytest.raises(
        ValueError, match=r"expected some of eager, exact, full, shared_times, .* nearest is 'full'"
    ):
        parse_switches("ful")
