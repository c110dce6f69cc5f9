# SPDX-License-Identifier: Apache-2.0
"""Rollouts of the engine on random images: a window and the first call of the next one."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dreamzero_ros.engine.config import ModelConfig
from dreamzero_ros.engine.session import Session, SolverStep, StepResult

IMAGES_PER_CALL = (1, 4, 4, 4, 1)
"""Four calls in one window, and one that begins the next."""

INSTRUCTION = "pick up the red cup"

ROUNDING = 1e-5
"""What float32 may differ by where only the order of sums does, as a share of the largest value.

Every weight moved in its last bit, which is the same kind of error, changes the tiny engine's answers by up
to 1.7e-6 of the largest one (`test_switches.py` measures it); whatever is wrong changes them by 1e-3 or more.
"""


@dataclass
class Rollout:
    """What a session answered, call by call."""

    results: list[StepResult] = field(default_factory=list)
    steps: list[list[SolverStep]] = field(default_factory=list)


def inputs(config: ModelConfig, batch: int = 1, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Images and state of every call."""
    generator = torch.Generator().manual_seed(seed)
    sizes = config.transformer
    canvas = (config.canvas_height, config.canvas_width, 3)
    return [
        (
            torch.randint(256, (batch, images, *canvas), dtype=torch.uint8, generator=generator),
            torch.rand(batch, sizes.num_state_per_block, sizes.max_state_dim, generator=generator) * 2 - 1,
        )
        for images in IMAGES_PER_CALL
    ]


def roll(session: Session, calls: list[tuple[Tensor, Tensor]]) -> Rollout:
    """Answers all calls."""
    rollout = Rollout()
    for images, state in calls:
        rollout.steps.append([])
        rollout.results.append(session.step(images, state, INSTRUCTION, on_step=rollout.steps[-1].append))
    return rollout


def relative_errors(actual: Rollout, expected: Rollout) -> tuple[float, float]:
    """Error of all actions and of all dreamed latents, as a share of their size (Frobenius)."""

    def error(name: str) -> float:
        got, wanted = (
            torch.cat([getattr(result, name).flatten() for result in rollout.results])
            for rollout in (actual, expected)
        )
        return float((got - wanted).norm() / wanted.norm())

    return error("actions"), error("video")


def share_of_largest(actual: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest expected value."""
    return float((actual - expected).abs().max() / expected.abs().max())


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """The same numbers, up to the order of sums."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=ROUNDING * float(expected.abs().max()))


def assert_equal(actual: Rollout, expected: Rollout) -> None:
    """The same answers, up to the order of sums."""
    for got, wanted in zip(actual.results, expected.results, strict=True):
        assert_close(got.actions, wanted.actions)
        assert_close(got.video, wanted.video)
        torch.testing.assert_close(got.similarities, wanted.similarities, rtol=0, atol=ROUNDING)
        assert got.computed == wanted.computed
        assert (got.reset, got.start_frame, got.context_frames) == (
            wanted.reset,
            wanted.start_frame,
            wanted.context_frames,
        )
