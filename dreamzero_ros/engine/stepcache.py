# SPDX-License-Identifier: Apache-2.0
"""Fewer steps: which solver steps run the transformer and which reuse its last flow, or one step alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from dreamzero_ros.engine.config import SamplerConfig

STEP_MASKS: Mapping[int, str] = {
    5: "1110000100001000",
    6: "1100010000100011",
    7: "1110001000100011",
    8: "1110001000100111",
}
"""Steps that run the transformer, of 16, by their number."""


ONE_STEP_NOISE = 0.8
"""Noise that one step leaves in the video, where the checkpoint does not say it: that of the release."""


class StepPlan(Protocol):
    """Decides step by step; made anew for every chunk."""

    similarities: list[float]
    """Cosine similarities that decisions were based on."""

    def computes(self, step: int, flows: Sequence[Tensor]) -> bool:
        """Say whether `step` runs the transformer, given the last (at most two) computed video flows."""

    def is_last(self, step: int) -> bool:
        """Whether it is certain, as `step` begins, that no later one runs the transformer."""


class FixedPlan:
    """Steps chosen in advance.

    Args:
        mask: Whether each step runs the transformer; the first does.
    """

    def __init__(self, mask: Sequence[bool]) -> None:
        self.similarities: list[float] = []
        self._mask = mask

    def computes(self, step: int, flows: Sequence[Tensor]) -> bool:
        """Look the step up."""
        return self._mask[step]

    def is_last(self, step: int) -> bool:
        """Look the steps after it up."""
        return not any(self._mask[step + 1 :])


class DynamicPlan:
    """Skips steps while the guided video flow hardly changes, then always computes one.

    Args:
        skips: Pairs of a similarity and the number of steps to skip above it, highest similarity first.
        num_steps: Number of solver steps.
    """

    def __init__(self, skips: Sequence[tuple[float, int]], num_steps: int) -> None:
        self.similarities: list[float] = []
        self._skips = skips
        self._num_steps = num_steps
        self._countdown = 0

    def computes(self, step: int, flows: Sequence[Tensor]) -> bool:
        """Decide by the similarity of the last two flows, averaged over the batch."""
        if len(flows) < 2:
            return True
        if self._countdown:
            self._countdown -= 1
            return self._countdown == 0
        older, newer = (flow.float().flatten(1) for flow in flows)
        similarity = F.cosine_similarity(older, newer, dim=1).mean().item()
        self.similarities.append(similarity)
        self._countdown = next((count for limit, count in self._skips if similarity > limit), 0)
        return self._countdown == 0

    def is_last(self, step: int) -> bool:
        """Nothing is certain before the last step."""
        return step == self._num_steps - 1


def one_step(sampler: SamplerConfig, source: str, force: bool) -> SamplerConfig:
    """Return the sampler that denoises the actions in a single step and leaves the video mostly noise.

    Args:
        sampler: That of the checkpoint; it says whether the checkpoint was trained for this.
        source: Where the weights come from, for people.
        force: Do so with other checkpoints, too.

    Raises:
        ValueError: If the checkpoint was trained otherwise and nobody forces it.
    """
    noise = sampler.video_final_noise
    if noise is None:
        if not force:
            raise ValueError(
                f"{source} was not trained to denoise actions in one step (config.json: "
                "decouple_inference_noise is not true), so its actions would be poor; take 5 or more steps, "
                "or force it"
            )
        noise = ONE_STEP_NOISE
    return replace(sampler, num_steps=1, dit_steps=1, video_final_noise=noise)


def step_plan(sampler: SamplerConfig) -> StepPlan:
    """Return a plan for one chunk.

    Raises:
        ValueError: If there is no mask for the number of computed steps.
    """
    if sampler.dit_steps == "dynamic":
        return DynamicPlan(sampler.similarity_skips, sampler.num_steps)
    if sampler.dit_steps == sampler.num_steps:
        return FixedPlan([True] * sampler.num_steps)
    mask = STEP_MASKS.get(sampler.dit_steps, "")
    if len(mask) != sampler.num_steps:
        raise ValueError(
            f"dit_steps: expected one of {[*STEP_MASKS]} (with 16 solver steps), 'dynamic', or num_steps to "
            f"compute every step; got {sampler.dit_steps} with num_steps {sampler.num_steps}"
        )
    return FixedPlan([computed == "1" for computed in mask])
