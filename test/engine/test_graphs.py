# SPDX-License-Identifier: Apache-2.0
"""Calls of the transformer that are recorded and replayed, against the plain engine.

What records here is a stand-in for CUDA graphs that repeats operators at their addresses.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rollouts import INSTRUCTION, ROUNDING, assert_close, assert_equal, inputs, roll, share_of_largest
from torch import Tensor

from dreamzero_ros.bench.gpu.recording import OperatorRecorder
from dreamzero_ros.engine import guidance
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.graphs import Kind, Recording
from dreamzero_ros.engine.guidance import NEGATIVE, PROMPT, Branches
from dreamzero_ros.engine.parallel import Group, Ranks
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, EXACT, Switches
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

SAMPLERS = {
    "all steps": SamplerConfig(num_steps=4, dit_steps=4),
    "8 of 16 steps": SamplerConfig(dit_steps=8),
    "dynamic": SamplerConfig(dit_steps="dynamic"),
    "decoupled": SamplerConfig(dit_steps=5, video_final_noise=0.8),
    "unguided": SamplerConfig(dit_steps="dynamic", guidance_scale=1.0),
    "one step": SamplerConfig(num_steps=1, dit_steps=1),
}
TRIMMED = replace(EXACT, trim_guidance=True)
LONG = 12 * INSTRUCTION
"""A prompt that takes more rows than `INSTRUCTION`."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return random_engine("tiny", "cpu", torch.float32, seed=3)


def recorded(engine: Engine, sampler: SamplerConfig, others: Switches, batch: int = 1):
    recorder = OperatorRecorder()
    switches = replace(others, graphs=True)
    return Session(engine, sampler, batch, switches=switches, recorder=recorder), recorder


@pytest.mark.parametrize(
    ("others", "sampler"),
    [
        (EAGER, "all steps"),
        (EXACT, "dynamic"),
        (TRIMMED, "one step"),
        *(
            pytest.param(others, sampler, marks=pytest.mark.slow)
            for others, samplers in (
                (EAGER, ("8 of 16 steps",)),
                (EXACT, ("all steps", "8 of 16 steps", "decoupled", "unguided", "one step")),
                (TRIMMED, ("8 of 16 steps", "dynamic")),
            )
            for sampler in samplers
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else {EAGER: "eager", EXACT: "exact", TRIMMED: "trimmed"}[x],
)
def test_replayed_calls_change_nothing_and_no_later_window_records(
    engine: Engine, others: Switches, sampler: str
) -> None:
    session, recorder = recorded(engine, SAMPLERS[sampler], others)
    roll(session, inputs(engine.config)[:-1])
    recordings = recorder.recorded
    calls = inputs(engine.config, seed=1)
    truth = Session(engine, SAMPLERS[sampler], switches=others if others.trim_guidance else EAGER)
    assert_equal(roll(session, calls), roll(truth, calls))
    assert recorder.recorded == recordings < recorder.replayed


@pytest.mark.slow
def test_replayed_calls_change_nothing_in_a_batch(engine: Engine) -> None:
    calls = inputs(engine.config, batch=2)
    session, _ = recorded(engine, SAMPLERS["all steps"], EXACT, batch=2)
    assert_equal(roll(session, calls), roll(Session(engine, SAMPLERS["all steps"], 2), calls))


def worst_of_prompts(engine: Engine, others: Switches) -> float:
    """Largest difference of actions from the plain engine's [share], as instructions change to and fro."""
    sampler = SamplerConfig(num_steps=2, dit_steps=2, negative_prompt="blurry")
    plain = Session(engine, sampler)
    session, _ = recorded(engine, sampler, others)
    calls = [
        (images, state, prompt)
        for prompt in (INSTRUCTION, LONG, INSTRUCTION)
        for images, state in inputs(engine.config)[:2]
    ]
    return max(share_of_largest(session.step(*call).actions, plain.step(*call).actions) for call in calls)


def test_replayed_calls_store_float8(engine: Engine) -> None:
    narrow = replace(EXACT, float8_cache=True)
    session, _ = recorded(engine, SAMPLERS["all steps"], narrow)
    truth = Session(engine, SAMPLERS["all steps"], switches=narrow)
    calls = inputs(engine.config)
    assert_equal(roll(session, calls), roll(truth, calls))


def test_replayed_calls_see_a_new_instruction(engine: Engine) -> None:
    assert worst_of_prompts(engine, EXACT) < ROUNDING


@pytest.mark.parametrize(
    ("others", "forgotten"),
    [
        (EXACT, {"text_rows"}),
        pytest.param(EAGER, {"rows"}, marks=pytest.mark.slow),
        pytest.param(EAGER, {"start", "stored"}, marks=pytest.mark.slow),
    ],
    ids=lambda x: "+".join(sorted(x)) if isinstance(x, set) else "",
)
def test_calls_of_different_kinds_must_be_told_apart(
    engine: Engine, others: Switches, forgotten: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording of one replayed for another gives other actions; where the frames are is told twice."""

    def kind(**values: object) -> Kind:
        return Kind(**{name: None if name in forgotten else value for name, value in values.items()})

    monkeypatch.setattr(guidance, "Kind", kind)
    assert worst_of_prompts(engine, others) > 10 * ROUNDING


def test_what_a_replay_returns_outlives_the_next_one() -> None:
    recording = Recording(OperatorRecorder(), lambda x, _: (2 * x, x + 1), [torch.zeros(3), None])
    flow, action_flow = recording.replay([torch.ones(3), None])
    recording.replay([torch.full((3,), 5.0), None])
    assert flow.tolist() == [2, 2, 2] and action_flow.tolist() == [2, 2, 2]


def test_replayed_calls_follow_a_window_that_slides(engine: Engine) -> None:
    """Sessions begin a new window instead; the caches could go on."""
    truth = slide(engine, EAGER)
    for ours, flow in zip(
        slide(engine, replace(EXACT, fuse_observation=False, graphs=True)), truth, strict=True
    ):
        assert_close(ours, flow)


def slide(engine: Engine, switches: Switches) -> list[Tensor]:
    """Flows of the video over frames of twice a window."""
    sizes, config = engine.config.transformer, engine.config
    branches = Branches(
        engine.transformer, config, 1, 5.0, switches, engine.device, engine.dtype, recorder=OperatorRecorder()
    )
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator)

    with torch.no_grad():
        for branch in (PROMPT, NEGATIVE):
            mask = (torch.arange(sizes.text_len) < 40 + branch)[None]
            branches.read(random(sizes.text_len, sizes.text_dim) * mask[..., None], mask, branch)
        branches.look(random(sizes.image_tokens, sizes.image_dim))
        flows = []
        start = 0
        while start < 2 * sizes.window_frames:
            observed, block = branches.cache.frames_from(start), sizes.num_frame_per_block
            branches.observe(
                start, random(16, observed, *config.latent_size), random(20, observed, *config.latent_size)
            )
            start += observed
            flow, _ = branches.flows(
                start,
                random(16, block, *config.latent_size),
                random(20, block, *config.latent_size),
                random(sizes.num_action_per_block, sizes.action_dim),
                random(sizes.num_state_per_block, sizes.max_state_dim),
                (900, 800),
            )
            flows.append(flow)
    return flows


def test_graphs_are_refused_where_there_are_none_or_were_never_tried(engine: Engine) -> None:
    with pytest.raises(
        ValueError, match="speed-up graphs: records CUDA graphs, and the model runs on cpu; leave"
    ):
        Session(engine, SamplerConfig(), switches=Switches(graphs=True))
    group = Group(None, 0, 2)
    ranks = Ranks(0, 2, all=group, branches=group, tokens=None)
    with pytest.raises(
        ValueError, match="speed-up graphs: never tried with several ranks, and there are 2; leave"
    ):
        Session(engine, SamplerConfig(), switches=Switches(graphs=True), ranks=ranks)
