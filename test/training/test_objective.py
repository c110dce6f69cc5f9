# SPDX-License-Identifier: Apache-2.0
"""The training objective against the reference vectors."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dreamzero_ros.engine.config import TransformerConfig
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.training.objective import (
    Noised,
    NoiseMode,
    Sample,
    TrainingSchedule,
    add_noise,
    draw_action_indices,
    draw_frame_indices,
    draw_noise,
    flow_matching_losses,
    tie_blocks,
)

pytestmark = pytest.mark.cpu

TOLERANCE = {"atol": 5e-5, "rtol": 0}
GRADIENT_NORM_TOLERANCE = {"atol": 5e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def vectors(goldens):
    def read(name):
        with np.load(goldens / f"{name}.npz") as file:
            return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}

    return read


@pytest.fixture
def transformer(goldens, vectors):
    recorded = json.loads((goldens / "config.json").read_text())["transformer"]
    known = {field.name for field in fields(TransformerConfig)}
    sizes = {name: value for name, value in recorded.items() if name in known}
    model = WorldActionTransformer(
        TransformerConfig(**sizes, concat_first_frame_latent=recorded["model_type"] == "i2v")
    )
    model.load_state_dict(vectors("weights"))
    return model


def sample_of(recorded, mode):
    names = {"image_conditioning": "y", "text": "prompt", "image": "clip_feature"}
    return Sample(**{f.name: recorded[f"{mode}.{names.get(f.name, f.name)}"] for f in fields(Sample)})


def noised_of(recorded, mode):
    names = {"video_noise": "noise_video", "action_noise": "noise_action"}
    return Noised(**{f.name: recorded[f"{mode}.{names.get(f.name, f.name)}"] for f in fields(Noised)})


@pytest.mark.parametrize("mode", ["coupled", "decoupled"])
def test_losses_and_gradients_equal_the_reference(mode, transformer, vectors):
    recorded = vectors("train_forward")
    outputs = {}
    forward = transformer.forward_training

    def listening(x, *args):
        outputs["noisy_latents"], outputs["noisy_action"] = x, args[5]
        outputs["video_pred"], outputs["action_pred"] = forward(x, *args)
        return outputs["video_pred"], outputs["action_pred"]

    transformer.forward_training = listening
    sample, noised = sample_of(recorded, mode), noised_of(recorded, mode)
    losses = flow_matching_losses(transformer, sample, noised, TrainingSchedule())
    losses.total.backward()

    for name, output in outputs.items():
        torch.testing.assert_close(output, recorded[f"{mode}.{name}"], **TOLERANCE)
    for name, loss in (
        ("loss", losses.total),
        ("dynamics_loss", losses.video),
        ("action_loss", losses.action),
    ):
        torch.testing.assert_close(loss, recorded[f"{mode}.{name}"], **TOLERANCE)
    gradients = {name: parameter.grad for name, parameter in transformer.named_parameters()}
    norms = [name for name in recorded if name.startswith(f"{mode}.grad_norm.")]
    assert {name.removeprefix(f"{mode}.grad_norm.") for name in norms} == gradients.keys()
    for name, gradient in gradients.items():
        norm = gradient.double().norm()
        torch.testing.assert_close(norm, recorded[f"{mode}.grad_norm.{name}"], **GRADIENT_NORM_TOLERANCE)
        if f"{mode}.grad.{name}" in recorded:
            torch.testing.assert_close(gradient, recorded[f"{mode}.grad.{name}"], **TOLERANCE)


def test_schedule_equals_the_reference(vectors):
    recorded = vectors("scheduler")
    schedule = TrainingSchedule()
    torch.testing.assert_close(schedule.sigmas, recorded["flow.train.sigmas"], atol=2e-7, rtol=0)
    torch.testing.assert_close(schedule.timesteps, recorded["flow.train.timesteps"], atol=2e-4, rtol=0)
    torch.testing.assert_close(schedule.weights, recorded["flow.train.weights"], **TOLERANCE)
    hundred = TrainingSchedule(num_steps=100)
    torch.testing.assert_close(hundred.sigmas, recorded["flow.inference100.sigmas"], atol=2e-7, rtol=0)
    torch.testing.assert_close(hundred.timesteps, recorded["flow.inference100.timesteps"], atol=2e-4, rtol=0)


@pytest.mark.parametrize("grid", ["", "_off_grid"])
def test_noise_equals_the_reference(grid, vectors):
    recorded = vectors("scheduler")
    schedule = TrainingSchedule()
    timestep = recorded[f"flow.timestep{grid}"]
    if not grid:
        torch.testing.assert_close(schedule.timesteps[recorded["flow.ids"]], timestep, atol=2e-4, rtol=0)
    noisy = add_noise(recorded["flow.x"], recorded["flow.noise"], schedule.sigma(timestep))
    torch.testing.assert_close(noisy, recorded[f"flow.add_noise{grid}"], **TOLERANCE)
    torch.testing.assert_close(schedule.weight(timestep), recorded[f"flow.weight{grid}"], **TOLERANCE)
    torch.testing.assert_close(recorded["flow.noise"] - recorded["flow.x"], recorded["flow.target"])


def test_loss_weights():
    weights = TrainingSchedule().weights
    published = {
        0: 0,
        200: 0.3039,
        400: 0.7385,
        500: 1.0249,
        600: 1.3642,
        800: 2.0439,
        900: 1.8653,
        999: 0.0319,
    }
    for index, weight in published.items():
        assert weights[index].item() == pytest.approx(weight, abs=1e-4)
    assert weights.argmax() == 833
    assert weights.max().item() == pytest.approx(2.0764, abs=1e-4)
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-5)


def test_recorded_draws_become_the_recorded_timesteps(transformer, vectors):
    recorded = vectors("train_forward")
    config, schedule = transformer.config, TrainingSchedule()
    drawn = tie_blocks(recorded["coupled.drawn_ids0"], config.num_frame_per_block)
    sizes = (config.num_frame_per_block, config.num_action_per_block, len(schedule.timesteps))
    of_actions = draw_action_indices(NoiseMode(), drawn, *sizes)
    expected = (recorded["coupled.timestep"], recorded["coupled.timestep_action"])
    torch.testing.assert_close(schedule.timesteps[drawn], expected[0], atol=2e-4, rtol=0)
    torch.testing.assert_close(schedule.timesteps[of_actions], expected[1], atol=2e-4, rtol=0)
    own = schedule.timesteps[recorded["decoupled.drawn_ids0"]]
    torch.testing.assert_close(own, recorded["decoupled.timestep_action"], atol=2e-4, rtol=0)


def test_modes_draw_from_their_distributions():
    torch.manual_seed(0)
    uniform = draw_frame_indices(NoiseMode(), 100, 101, 1000)
    noisy = draw_frame_indices(NoiseMode(video_beta=(7, 1)), 100, 101, 1000)
    assert (uniform.min() >= 0, uniform.max() < 1000) == (True, True)
    assert (noisy.min() >= 0, noisy.max() < 1000) == (True, True)
    assert uniform.double().mean().item() == pytest.approx(499.5, abs=10)
    assert noisy.double().mean().item() == pytest.approx(125, abs=5)
    tied = tie_blocks(uniform, 2)
    coupled = draw_action_indices(NoiseMode(), tied, 2, 24, 1000)
    assert torch.equal(coupled[:, ::24], tied[:, 1::2])
    own = draw_action_indices(NoiseMode(decoupled=True), tied, 2, 24, 1000)
    assert own.shape == coupled.shape
    assert (own[:, 0] != own[:, 1]).any()


def test_drawn_noise_fits_a_batch_and_padding_does_not_count(transformer, vectors):
    recorded = vectors("train_forward")
    one = sample_of(recorded, "coupled")
    batch = Sample(**{f.name: torch.cat([getattr(one, f.name)] * 2) for f in fields(Sample)})
    schedule = TrainingSchedule()
    noised = draw_noise(transformer, batch, schedule, NoiseMode(video_beta=(3, 1), decoupled=True))
    losses = flow_matching_losses(transformer, batch, noised, schedule)
    assert losses.total.isfinite()
    none = replace(batch, action_mask=torch.zeros_like(batch.action_mask))
    without = flow_matching_losses(transformer, none, noised, schedule)
    assert without.action == 0
    assert torch.equal(without.video, losses.video)


def test_actions_out_of_range_are_named(transformer, vectors):
    recorded = vectors("train_forward")
    sample = sample_of(recorded, "coupled")
    wild = replace(sample, action=sample.action * 0 + 1.5)
    with pytest.raises(ValueError, match=r"expected values in \[-1, 1\], got up to 1.500; normalise"):
        flow_matching_losses(transformer, wild, noised_of(recorded, "coupled"), TrainingSchedule())
