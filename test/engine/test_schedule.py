# SPDX-License-Identifier: Apache-2.0
"""Schedules and the UniPC solver against the reference vectors and the published coefficients."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.schedule import UniPC, correctors, decouple, flow_schedule, predictors
from dreamzero_ros.engine.stepcache import step_plan

pytestmark = pytest.mark.cpu

TOLERANCE = {"atol": 5e-5, "rtol": 0}
ROLLS = [("n16", 16, 5.0), ("n10", 10, 5.0), ("n4", 4, 5.0), ("n16_shift3", 16, 3.0)]

# Of 16 steps with shift 5: predictor (sample, clean, previous) and corrector (sample, clean, previous, new).
PREDICTORS = {
    0: (0.986832, 0.013168, 0),
    1: (0.985174, 0.016153, -0.001327),
    8: (0.954517, 0.068231, -0.022747),
    14: (0.599920, 0.718011, -0.317931),
    15: (0, 1, 0),
}
CORRECTORS = {
    1: (0.986832, 0.006584, 0, 0.006584),
    2: (0.985174, 0.006928, -0.000066, 0.007965),
    9: (0.954517, 0.029366, -0.003788, 0.019906),
    15: (0.599920, 0.279841, -0.064428, 0.184667),
}


def sampled(schedule, x, velocities):
    solver = UniPC(schedule)
    samples = [x]
    for index, velocity in enumerate(velocities):
        samples.append(solver.step(index, samples[-1], velocity))
    return torch.stack(samples)


@pytest.mark.parametrize(("name", "steps", "shift"), ROLLS)
def test_rolls_equal_the_reference(name, steps, shift, vectors):
    recorded = vectors("scheduler")
    schedule = flow_schedule(steps, shift)
    torch.testing.assert_close(
        torch.tensor(schedule.sigmas), recorded[f"unipc.{name}.sigmas"], atol=2e-7, rtol=0
    )
    assert schedule.timesteps == tuple(recorded[f"unipc.{name}.timesteps"].tolist())
    samples = sampled(schedule, recorded["unipc.x_init"], recorded[f"unipc.{name}.velocities"])
    torch.testing.assert_close(samples, recorded[f"unipc.{name}.samples"], **TOLERANCE)


@pytest.mark.parametrize("computed", [5, 6, 7, 8])
def test_rolls_with_reused_flows_equal_the_reference(computed, vectors, reference):
    recorded = vectors("scheduler")
    name = f"unipc.skip{computed}"
    plan = step_plan(SamplerConfig(dit_steps=computed))
    mask = [plan.computes(step, []) for step in range(16)]
    assert mask == recorded[f"{name}.mask"].tolist() == reference["step_masks"][str(computed)]
    flows = recorded[f"{name}.velocities"]
    if len(flows) == computed:
        flows = flows[torch.tensor(mask).cumsum(0) - 1]
    samples = sampled(flow_schedule(16, 5.0), recorded["unipc.x_init"], flows)
    torch.testing.assert_close(samples, recorded[f"{name}.samples"], **TOLERANCE)


def test_bfloat16_flows_agree_to_bfloat16(vectors):
    recorded = vectors("scheduler")
    flows = recorded["unipc.n16_bf16.velocities"].to(torch.bfloat16)
    samples = sampled(flow_schedule(16, 5.0), recorded["unipc.x_init"], flows)
    assert samples.dtype == torch.float32
    torch.testing.assert_close(samples, recorded["unipc.n16_bf16.samples"], atol=1e-1, rtol=0)


def test_loop_schedules_equal_the_reference(goldens, reference, vectors):
    plain = flow_schedule(reference["num_inference_steps"], reference["sigma_shift"])
    for path in sorted(goldens.glob("loop_*.npz")):
        name = path.stem.removeprefix("loop_")
        if name == "inputs":
            continue
        recorded = vectors(path.stem)
        final_noise = reference["scenarios"][name]["video_final_noise"]
        video = plain if final_noise is None else decouple(plain, final_noise)
        for kind, schedule in (("video", video), ("action", plain)):
            torch.testing.assert_close(
                torch.tensor(schedule.sigmas), recorded[f"{kind}_sigmas"], atol=2e-7, rtol=0
            )
            assert schedule.timesteps == tuple(recorded[f"{kind}_timesteps"].tolist())


def test_coefficients():
    sigmas = flow_schedule(16, 5.0).sigmas
    for index, expected in PREDICTORS.items():
        row = predictors(sigmas)[index]
        assert (row.sample, row.clean, row.previous) == pytest.approx(expected, abs=1e-6)
    for index, expected in CORRECTORS.items():
        row = correctors(sigmas)[index - 1]
        assert (row.sample, row.clean, row.previous, row.new) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("final_noise", [None, 0.8, 0.3])
@pytest.mark.parametrize("steps", [1, 2, 4, 16])
def test_every_row_keeps_a_clean_sample_clean(steps, final_noise):
    """Where all clean estimates agree, a row maps (1 - sigma) clean + sigma noise to the next noise level."""
    schedule = flow_schedule(steps, 5.0)
    sigmas = (schedule if final_noise is None else decouple(schedule, final_noise)).sigmas
    for index, row in enumerate(predictors(sigmas)):
        assert row.sample == pytest.approx(sigmas[index + 1] / sigmas[index])
        expected = (1 - sigmas[index + 1]) - row.sample * (1 - sigmas[index])
        assert row.clean + row.previous == pytest.approx(expected)
    for index, row in enumerate(correctors(sigmas), start=1):
        assert row.sample == pytest.approx(sigmas[index] / sigmas[index - 1])
        expected = (1 - sigmas[index]) - row.sample * (1 - sigmas[index - 1])
        assert row.clean + row.previous + row.new == pytest.approx(expected)


def test_steps_out_of_order_are_refused():
    solver = UniPC(flow_schedule(4, 5.0))
    x = solver.step(0, torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="step 2, expected step 1"):
        solver.step(2, x, x)
