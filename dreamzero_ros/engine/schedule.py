# SPDX-License-Identifier: Apache-2.0
"""Flow-matching noise schedules and the UniPC solver as a table of coefficients.

A sample at noise level sigma is x = (1 - sigma) * clean + sigma * noise, the network predicts flow = noise
- clean, so clean = x - sigma * flow. UniPC (data prediction, order 2, "bh2", lower order at both ends) is
linear in the samples and clean estimates it combines, with weights that depend on the noise levels alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TRAINING_STEPS = 1000
"""Timesteps per unit of noise level."""


@dataclass(frozen=True)
class Schedule:
    """Noise levels of a sampler."""

    sigmas: tuple[float, ...]
    """Noise level before every step, then the final one; float32 values."""
    timesteps: tuple[int, ...]
    """Timestep that the network is told at every step."""

    @property
    def num_steps(self) -> int:
        """Number of solver steps."""
        return len(self.timesteps)


def flow_schedule(num_steps: int, shift: float) -> Schedule:
    """Return the schedule from almost pure noise to none, shifted towards high noise.

    Timesteps are truncated, not rounded; the solver uses the exact noise level.
    """
    top = 1 - 1 / TRAINING_STEPS
    base = top * (1 - torch.arange(num_steps, dtype=torch.float64) / num_steps)
    sigmas = shift * base / (1 + (shift - 1) * base)
    return Schedule((*sigmas.float().tolist(), 0.0), _truncate(sigmas))


def decouple(schedule: Schedule, final_noise: float) -> Schedule:
    """Return the schedule mapped affinely so that it starts where it did and ends at `final_noise`."""
    sigmas = torch.tensor(schedule.sigmas)
    sigmas = sigmas * (sigmas[0] - final_noise) / sigmas[0] + final_noise
    return Schedule(tuple(sigmas.tolist()), _truncate(sigmas[:-1]))


def _truncate(sigmas: Tensor) -> tuple[int, ...]:
    return tuple((TRAINING_STEPS * sigmas).long().tolist())


@dataclass(frozen=True)
class Predictor:
    """Weights that carry a sample to the next noise level."""

    sample: float
    clean: float
    """Of the clean estimate of this step."""
    previous: float
    """Of the clean estimate one step before."""


@dataclass(frozen=True)
class Corrector:
    """Weights that compute a sample anew once its own clean estimate is known."""

    sample: float
    """Of the corrected sample one step before."""
    clean: float
    """Of the clean estimate one step before."""
    previous: float
    """Of the clean estimate two steps before."""
    new: float
    """Of the clean estimate of this step."""


def predictors(sigmas: Sequence[float]) -> list[Predictor]:
    """Return the predictor of every step; `sigmas` includes the final noise level."""
    num_steps = len(sigmas) - 1
    return [_predictor(sigmas, i, min(2, num_steps - i, i + 1)) for i in range(num_steps)]


def correctors(sigmas: Sequence[float]) -> list[Corrector]:
    """Return the corrector of every step but the first, which has nothing to correct."""
    num_steps = len(sigmas) - 1
    return [_corrector(sigmas, i, min(2, num_steps - i + 1, i)) for i in range(1, num_steps)]


def _predictor(sigmas: Sequence[float], i: int, order: int) -> Predictor:
    h = _log_snr(sigmas[i + 1]) - _log_snr(sigmas[i])
    gain = -(1 - sigmas[i + 1]) * math.expm1(-h)
    previous = 0.0
    if order == 2:
        ratio = (_log_snr(sigmas[i - 1]) - _log_snr(sigmas[i])) / h
        previous = 0.5 * gain / ratio
    return Predictor(sigmas[i + 1] / sigmas[i], gain - previous, previous)


def _corrector(sigmas: Sequence[float], i: int, order: int) -> Corrector:
    h = _log_snr(sigmas[i]) - _log_snr(sigmas[i - 1])
    e = math.expm1(-h)
    gain = -(1 - sigmas[i]) * e
    if order == 1:
        previous, new = 0.0, 0.5 * gain
    else:
        ratio = (_log_snr(sigmas[i - 2]) - _log_snr(sigmas[i - 1])) / h
        g = e / -h - 1
        b1, b2 = g / e, 2 * (g / -h - 0.5) / e
        rho = (b1 - b2) / (1 - ratio)  # solves rho + rho_new = b1, ratio * rho + rho_new = b2
        previous, new = gain * rho / ratio, gain * (b1 - rho)
    return Corrector(sigmas[i] / sigmas[i - 1], gain - previous - new, previous, new)


def _log_snr(sigma: float) -> float:
    return math.inf if sigma == 0 else math.log1p(-sigma) - math.log(sigma)


class UniPC:
    """Solver of one roll from noise to sample, in float32.

    Args:
        schedule: Noise levels.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._predictors = predictors(schedule.sigmas)
        self._correctors = correctors(schedule.sigmas)
        self._next = 0
        self._sample: Tensor | None = None
        self._clean: list[Tensor] = []  # newest first, at most two

    def step(self, index: int, sample: Tensor, flow: Tensor) -> Tensor:
        """Return the sample at the next noise level, float32.

        Args:
            index: Step, counted from 0.
            sample: What the previous step returned, or the initial noise.
            flow: Predicted flow at `sample`.

        Raises:
            ValueError: If `index` is not the step that follows the previous one.
        """
        if index != self._next:
            raise ValueError(f"solver out of order: step {index}, expected step {self._next}")
        sample = sample.float()
        clean = sample - self.schedule.sigmas[index] * flow.float()
        if self._sample is not None:
            corrector = self._correctors[index - 1]
            corrected = (
                corrector.sample * self._sample + corrector.clean * self._clean[0] + corrector.new * clean
            )
            sample = _add(corrected, corrector.previous, self._clean[1:])
        self._sample = sample
        predictor = self._predictors[index]
        predicted = predictor.sample * sample + predictor.clean * clean
        predicted = _add(predicted, predictor.previous, self._clean[:1])
        self._clean = [clean, *self._clean[:1]]
        self._next = index + 1
        return predicted


def _add(x: Tensor, weight: float, estimates: Sequence[Tensor]) -> Tensor:
    """Add the weighted older clean estimate where there is one."""
    return x + weight * estimates[0] if estimates else x
