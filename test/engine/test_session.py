# SPDX-License-Identifier: Apache-2.0
"""The closed loop of a session against the reference vectors, and its rules."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from rollouts import INSTRUCTION, inputs
from torch import Tensor

from dreamzero_ros.bench.gpu.goldens import goldens_folder
from dreamzero_ros.bench.gpu.reference import (
    RecordedEncoders,
    read_config,
    recorded_engine,
    recorded_noise,
    recorded_sampler,
)
from dreamzero_ros.engine.cache import ContextCache, KVCache
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.session import Noise, Session, SolverStep
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

TOLERANCE = {"atol": 5e-5, "rtol": 0}
GOLDENS = goldens_folder()
SCENARIOS = read_config(GOLDENS)["scenarios"]


@pytest.fixture
def engine(goldens, transformer) -> RecordedEncoders:
    return recorded_engine(goldens, transformer)


@pytest.fixture
def noise(engine) -> Noise:
    return recorded_noise(engine.inputs)


def new_session(engine, settings, noise=None) -> Session:
    return Session(engine, settings, len(engine.inputs["call0.images"]), noise)


def run(session, engine, call, **options):
    engine.call = call
    ids = engine.inputs[f"ids{engine.of_call('prompt_index')}"]
    return session.step(engine.of_call("images"), engine.of_call("state"), ids, **options)


class Evaluations:
    """Every evaluation of the transformer, and the timesteps that were embedded for it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.prefills, self.denoisings = [], []
        self.inputs, self.addresses = [], set()
        self.timesteps: list[tuple[Tensor, Tensor | None]] = []

    def embed(self, times):
        """Wraps the method that embeds timesteps."""

        def embedding(timestep, tokens_per_frame, timestep_action=None, states=0):
            self.timesteps.append((timestep, timestep_action))
            return times(timestep, tokens_per_frame, timestep_action, states)

        return embedding

    def record(self, _module, args, options, output) -> None:
        x, _, context, cache, start, *_ = args
        self.inputs.append(x)
        self.addresses |= {context.storage.data_ptr(), cache.storage.data_ptr()}
        branch = options["rows"].start if options else 0
        if output[1] is None:  # no actions
            self.prefills.append((branch, start))
        else:
            self.denoisings.append((branch, *self.timesteps[-1], *output))

    def of_prompt(self, entries):
        """Entries of the prompt's branch, whose rows are the first."""
        return [entry for entry in entries if entry[0] == 0]

    def of_negative(self, entries):
        return [entry for entry in entries if entry[0] != 0]


@pytest.fixture
def evaluations(transformer, monkeypatch):
    recorder = Evaluations()
    monkeypatch.setattr(transformer, "times", recorder.embed(transformer.times))
    handle = transformer.register_forward_hook(recorder.record, with_kwargs=True)
    yield recorder
    handle.remove()


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if (GOLDENS / f"loop_{name}.npz").exists()])
def test_closed_loop_equals_the_reference(scenario, engine, noise, reference, vectors, evaluations):
    expected = vectors(f"loop_{scenario}")
    session = new_session(engine, recorded_sampler(reference, **SCENARIOS[scenario]), noise)
    for call in range(engine.calls):
        evaluations.clear()
        steps: list[SolverStep] = []
        assert session.next_frame == engine.inputs[f"call{call}.start_before"]
        result = run(session, engine, call, on_step=steps.append)

        def recorded(name, call=call):
            return expected[f"call{call}.{name}"]

        assert result.reset == engine.of_call("reset")
        assert result.start_frame == engine.of_call("start_denoise")
        assert result.context_frames == recorded("cache_frames")
        assert result.computed == tuple(recorded("ran").tolist())
        torch.testing.assert_close(result.actions, recorded("action_pred"), **TOLERANCE)
        torch.testing.assert_close(result.video, recorded("video_pred"), **TOLERANCE)
        starts = [start for _, start in evaluations.of_prompt(evaluations.prefills)]
        assert starts == recorded("prefill_starts").tolist()
        if f"call{call}.similarities" in expected:
            torch.testing.assert_close(
                torch.tensor(result.similarities), recorded("similarities"), **TOLERANCE
            )

        of_prompt = evaluations.of_prompt(evaluations.denoisings)
        of_negative = evaluations.of_negative(evaluations.denoisings)
        ran = recorded("ran")
        for place, name in ((1, "video_timesteps"), (2, "action_timesteps")):
            given = torch.stack([entry[place] for entry in of_prompt]).flatten(1)
            assert torch.equal(given, expected[name][ran].unsqueeze(1).expand_as(given))
        if f"call{call}.v_cond" in expected:
            torch.testing.assert_close(
                torch.stack([e[3] for e in of_prompt]), recorded("v_cond"), **TOLERANCE
            )
            torch.testing.assert_close(
                torch.stack([e[4] for e in of_prompt]), recorded("a_cond"), **TOLERANCE
            )
            torch.testing.assert_close(
                torch.stack([e[3] for e in of_negative]), recorded("v_uncond"), **TOLERANCE
            )
            video = torch.stack([noise.video, *(step.video for step in steps)]).transpose(2, 3)
            action = torch.stack([noise.action, *(step.action for step in steps)])
            torch.testing.assert_close(video, recorded("video_samples"), **TOLERANCE)
            torch.testing.assert_close(action, recorded("action_samples"), **TOLERANCE)


def quick(reference) -> SamplerConfig:
    return recorded_sampler(reference, dit_steps=5)


def test_observed_latents_replace_dreamed_ones(engine, noise, reference, evaluations):
    """The next block is denoised against what was observed, written into the cache first."""
    dream = new_session(engine, quick(reference), noise)
    dreamed = run(dream, engine, 0).video[:, :, 1:]
    from_dream = run(dream, engine, 1, latents=dreamed)
    observe = new_session(engine, quick(reference), noise)
    run(observe, engine, 0)
    evaluations.clear()
    from_observation = run(observe, engine, 1)
    assert (from_dream.actions - from_observation.actions).abs().max() > 1e-3

    model, config, inputs = engine.transformer, engine.config, engine.inputs
    size = config.transformer.num_frame_per_block
    cache = KVCache(config.transformer, observe.batch, config.tokens_per_frame, engine.device, engine.dtype)
    context = ContextCache(config.transformer, observe.batch, engine.device, engine.dtype)
    ys = inputs[f"ys{engine.of_call('ys_index')}"]
    with torch.no_grad():
        model.fill_text(context, inputs[f"prompt{engine.of_call('prompt_index')}"])
        model.fill_image(context, inputs[f"clip{engine.of_call('clip_index')}"])
        for latents in (inputs["call0.latents"], inputs["call1.latents"][:, :, -size:]):
            start = cache.next_frame
            count = cache.begin(start)
            times = model.times(torch.zeros(1, count, dtype=torch.int64), config.tokens_per_frame)
            model(latents, times, context, cache, start, ys[:, :, start : start + count])
            cache.commit(start)
        _, timestep, timestep_action, video_flow, action_flow = evaluations.denoisings[0]
        start = cache.next_frame
        cache.begin(start)
        video, action = model(
            noise.video,
            model.times(
                timestep,
                config.tokens_per_frame,
                timestep_action,
                config.transformer.num_state_per_block,
            ),
            context,
            cache,
            start,
            ys[:, :, start : start + size],
            noise.action,
            engine.of_call("state"),
        )
    torch.testing.assert_close(video_flow, video, **TOLERANCE)
    torch.testing.assert_close(action_flow, action, **TOLERANCE)


def test_a_wrong_number_of_images_is_named_and_changes_nothing(engine, noise, reference):
    session = new_session(engine, quick(reference), noise)
    run(session, engine, 0)
    engine.call = 1
    ids, images, state = engine.inputs["ids0"], engine.of_call("images"), engine.of_call("state")
    most = 4 * (engine.config.transformer.num_frame_per_block + 1)
    for count in (3, most + 1):
        wrong = images[:, :1].expand(-1, count, -1, -1, -1)
        with pytest.raises(
            ValueError, match=rf"expected 4 to {most} .* got {count}; give the newest 4, or 1"
        ):
            session.step(wrong, state, ids)
    untouched = new_session(engine, quick(reference), noise)
    run(untouched, engine, 0)
    torch.testing.assert_close(run(session, engine, 1).actions, run(untouched, engine, 1).actions)


def test_wrong_shapes_are_named(engine, noise, reference):
    session = new_session(engine, quick(reference), noise)
    ids, images, state = engine.inputs["ids0"], engine.of_call("images"), engine.of_call("state")
    with pytest.raises(ValueError, match=r"images: expected uint8 .* got torch.float32"):
        session.step(images.float(), state, ids)
    with pytest.raises(ValueError, match=r"images: expected uint8 .*; fit the views and stitch"):
        session.step(images[:, :, 1:], state, ids)
    with pytest.raises(ValueError, match=r"state: expected .* got .*; normalise and pad"):
        session.step(images, state[..., 1:], ids)


def test_step_counts_without_a_mask_are_refused(engine, reference):
    with pytest.raises(
        ValueError, match=r"dit_steps: expected one of \[5, 6, 7, 8\].*got 9 with num_steps 16"
    ):
        new_session(engine, SamplerConfig(dit_steps=9))


def test_reset_begins_a_window_at_the_same_addresses(engine, noise, reference, evaluations):
    session = new_session(engine, quick(reference), noise)
    first = run(session, engine, 0)
    run(session, engine, 1)
    addresses = set(evaluations.addresses)
    session.reset()
    assert (session.next_frame, session.context_frames) == (0, 0)
    assert run(session, engine, 1).reset
    assert session.context_frames == 1
    again = run(session, engine, 0)
    torch.testing.assert_close(again.actions, first.actions)
    assert len(addresses) == 2
    assert evaluations.addresses == addresses


def test_an_interrupted_step_asks_for_a_reset(engine, noise, reference):
    """A step that failed after it had observed does not shift the frames of the next one."""
    session = new_session(engine, quick(reference), noise)
    first = run(session, engine, 0)

    def interrupt(_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(session, engine, 1, on_step=interrupt)
    with pytest.raises(ValueError, match=r"cache out of order: begin at frame 1, .* reset the cache"):
        run(session, engine, 1)
    session.reset()
    torch.testing.assert_close(run(session, engine, 0).actions, first.actions)


def test_sessions_of_one_engine_are_independent(engine, noise, reference):
    alone, one, other = (new_session(engine, quick(reference), noise) for _ in range(3))
    run(alone, engine, 0)
    expected = run(alone, engine, 1)
    run(one, engine, 0)
    run(other, engine, 1)
    torch.testing.assert_close(run(one, engine, 1).actions, expected.actions)


def test_a_prompt_is_encoded_once(engine, noise, reference):
    session = new_session(engine, quick(reference), noise)
    prompts = [engine.inputs[f"call{call}.prompt_index"] for call in range(engine.calls)]
    for call in range(engine.calls):
        run(session, engine, call)
    changes = sum(prompt != before for before, prompt in pairwise(prompts))
    assert engine.encoded_texts == 2 + changes, "the negative prompt, the first one, and each new one"


def test_without_guidance_the_negative_prompt_is_left_out(engine, noise, reference, evaluations):
    session = new_session(engine, recorded_sampler(reference, dit_steps=5, cfg_scale=1.0), noise)
    unguided = run(session, engine, 0)
    assert len(evaluations.denoisings) == 5
    assert not evaluations.of_negative(evaluations.denoisings)
    nearly = new_session(engine, recorded_sampler(reference, dit_steps=5, cfg_scale=1.0 + 1e-7), noise)
    torch.testing.assert_close(run(nearly, engine, 0).video, unguided.video, atol=1e-4, rtol=0)


def test_every_chunk_starts_from_the_same_noise(engine, reference, evaluations):
    """Video and actions are each drawn from a fresh generator, so they begin with the same numbers."""
    session = new_session(engine, quick(reference))
    starts = []
    for call in (0, 1):
        evaluations.clear()
        steps: list[SolverStep] = []
        run(session, engine, call, on_step=steps.append)
        prefills = len(evaluations.prefills)
        starts.append(evaluations.inputs[prefills])
    assert torch.equal(*starts)
    generator = torch.Generator().manual_seed(SamplerConfig().seed)
    assert torch.equal(starts[0], torch.randn(starts[0].shape, generator=generator))


@pytest.mark.parametrize("batch", [1, 2])
def test_tiny_engine_runs_whole(batch):
    """Real encoders: images and a text in, actions and a dreamed video out, alike in every row of a batch."""
    engine = random_engine("tiny", "cpu", torch.float32)
    config = engine.config
    generator = torch.Generator().manual_seed(0)
    sizes = config.transformer
    noise = Noise(
        torch.randn(1, sizes.out_dim, 2, *config.latent_size, generator=generator).expand(
            batch, -1, -1, -1, -1
        ),
        torch.randn(1, 24, sizes.action_dim, generator=generator).expand(batch, -1, -1),
    )
    session = Session(engine, SamplerConfig(dit_steps=5), batch, noise)
    state = torch.zeros(batch, 1, config.transformer.max_state_dim)
    latents = []
    for images in (1, 4, 4, 4, 4):
        shape = (1, images, config.canvas_height, config.canvas_width, 3)
        canvas = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        result = session.step(canvas.expand(batch, -1, -1, -1, -1), state, "pick up the red cup")
        latents.append((result.reset, result.video.shape[2], result.context_frames))
        assert result.actions.shape == (batch, 24, config.transformer.action_dim)
        assert result.actions.isfinite().all()
        torch.testing.assert_close(result.actions, result.actions[:1].expand_as(result.actions))
        stages = {"text", "image" if result.reset else "video_encode", "prefill", "denoise"}
        assert set(result.latency_s) == stages
    assert latents == [(True, 3, 1), (False, 2, 3), (False, 2, 5), (False, 2, 7), (True, 3, 1)]
    dreamed = session.decode(result.video)
    assert dreamed.shape == (batch, 9, config.model_height, config.model_width, 3)
    assert dreamed.dtype == torch.uint8


@pytest.mark.parametrize("foreseen", [1, 2, 3])
def test_images_encoded_ahead_change_nothing(foreseen):
    """Also where a step brings other images than those that were foreseen, or begins a window."""
    engine = random_engine("tiny", "cpu", torch.float32)
    calls = inputs(engine.config)
    plain, ahead = (Session(engine, SamplerConfig(dit_steps=5)) for _ in range(2))
    encoded = []
    handle = engine.vae.model.encoder.register_forward_hook(
        lambda _, args, __: encoded.append(args[0].shape[2])
    )
    for number, (images, state) in enumerate(calls):
        others = calls[3][0] if number == 2 else images
        encoded.clear()
        ahead.look_ahead(others[:, :foreseen])
        assert bool(encoded) == (number not in (0, 4)), "nothing is done ahead of a new window"
        encoded.clear()
        result = ahead.step(images, state, INSTRUCTION)
        expected_encodes = {0: 9, 2: 3, 4: 9}.get(number, 1 if foreseen > 1 else 2)
        assert len(encoded) == expected_encodes
        assert ("video_rest" in result.latency_s) == (number in (1, 3))
        assert ("video_encode" in result.latency_s) == (number == 2)
        torch.testing.assert_close(result.actions, plain.step(images, state, INSTRUCTION).actions)
    handle.remove()
    with pytest.raises(ValueError, match="images: expected 1 to 3 to look ahead, got 4"):
        ahead.look_ahead(calls[1][0])
