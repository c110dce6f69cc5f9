# SPDX-License-Identifier: Apache-2.0
"""The closed loop of a session against the reference vectors, and its rules."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreamzero_ros.engine.config import (
    TINY,
    ImageConfig,
    ModelConfig,
    SamplerConfig,
    TextConfig,
    VaeConfig,
)
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.pixels import to_unit_range
from dreamzero_ros.engine.session import Noise, Session, SolverStep

pytestmark = pytest.mark.cpu

TOLERANCE = {"atol": 5e-5, "rtol": 0}
SPATIAL_FACTOR = 8
GOLDENS = Path(os.environ.get("DREAMZERO_GOLDENS", Path(__file__).parents[1] / "goldens"))
SCENARIOS = json.loads((GOLDENS / "config.json").read_text())["scenarios"]


@dataclass
class RecordedEncoders:
    """An engine whose encoders answer with what was recorded for the current call, and check what they are given."""

    config: ModelConfig
    transformer: WorldActionTransformer
    inputs: dict[str, Tensor]
    call: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def of_call(self, name: str) -> Tensor:
        return self.inputs[f"call{self.call}.{name}"]

    def tokenize(self, text: str) -> tuple[Tensor, Tensor]:
        assert text == SamplerConfig().negative_prompt
        ids = self.inputs["ids_negative"]
        return ids, ids != 0

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        torch.testing.assert_close(mask, ids != 0)
        names = {"ids_negative": "prompt_negative"}
        names |= {name: name.replace("ids", "prompt") for name in self.inputs if name.startswith("ids")} | names
        return next(self.inputs[names[name]] for name in names if torch.equal(self.inputs[name], ids))

    def encode_image(self, image: Tensor) -> Tensor:
        images = self.of_call("images")
        context = images[:, -1:] if images.shape[1] in (4, 9) else images[:, :1]
        torch.testing.assert_close(image, to_unit_range(context, self.dtype)[:, :, 0])
        return self.inputs[f"clip{self.of_call('clip_index')}"]

    def encode_video(self, video: Tensor) -> Tensor:
        if self.of_call("reset"):
            assert video.shape[2] == self.config.num_frames
            assert not video[:, :, 1:].any()
            return self.inputs[f"ys{self.of_call('ys_index')}"][:, -self.config.vae.z_dim :]
        latents = self.of_call("latents")
        assert 1 + (video.shape[2] - 1) // self.config.vae.temporal_factor == latents.shape[2]
        return latents


@pytest.fixture
def engine(vectors, reference, transformer) -> RecordedEncoders:
    height, width = reference["latent_height"] * SPATIAL_FACTOR, reference["latent_width"] * SPATIAL_FACTOR
    config = ModelConfig(
        name="reference",
        transformer=transformer.config,
        vae=VaeConfig(z_dim=transformer.config.out_dim, latents_mean=(), latents_std=()),
        text=TextConfig("bytes", {}),
        image=ImageConfig({}),
        view_height=height // 2,
        view_width=width // 2,
        model_height=height,
        model_width=width,
        num_frames=reference["num_frames"],
    )
    return RecordedEncoders(config, transformer, vectors("loop_inputs"))


@pytest.fixture
def noise(engine) -> Noise:
    return Noise(engine.inputs["noise_video"], engine.inputs["noise_action"])


def sampler(reference, **settings) -> SamplerConfig:
    return SamplerConfig(
        num_steps=reference["num_inference_steps"],
        sigma_shift=reference["sigma_shift"],
        guidance_scale=settings.pop("cfg_scale", reference["cfg_scale"]),
        **settings,
    )


def run(session, engine, call, **options):
    engine.call = call
    ids = engine.inputs[f"ids{engine.of_call('prompt_index')}"]
    return session.step(engine.of_call("images"), engine.of_call("state"), ids, **options)


class Evaluations:
    """Every evaluation of the transformer, as its hook reports it."""

    def __init__(self, transformer) -> None:
        self.handle = transformer.register_forward_hook(self.record)
        self.clear()

    def clear(self) -> None:
        self.prefills, self.denoisings = [], []

    def record(self, _module, args, output) -> None:
        _x, timestep, context, _cache, start, *rest = args
        if len(rest) == 1:
            self.prefills.append((id(context), start))
        else:
            self.denoisings.append((id(context), timestep, rest[2], *output))

    def of_prompt(self, entries):
        """Entries of the branch that ran first, the prompt's."""
        return [entry for entry in entries if entry[0] == entries[0][0]]

    def of_negative(self, entries):
        return [entry for entry in entries if entry[0] != entries[0][0]]


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if (GOLDENS / f"loop_{name}.npz").exists()])
def test_closed_loop_equals_the_reference(scenario, engine, noise, reference, vectors):
    expected = vectors(f"loop_{scenario}")
    session = Session(
        engine, sampler(reference, **SCENARIOS[scenario]), len(engine.inputs["call0.images"]), noise
    )
    evaluations = Evaluations(engine.transformer)
    calls = sum(name.endswith(".images") for name in engine.inputs)
    assert calls > 0
    for call in range(calls):
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
    evaluations.handle.remove()
