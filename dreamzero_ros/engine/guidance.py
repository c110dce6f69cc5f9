# SPDX-License-Identifier: Apache-2.0
"""Classifier-free guidance of the video flow; actions follow the prompt alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dreamzero_ros.engine.cache import ContextCache, KVCache


@dataclass(frozen=True)
class Branch:
    """One prompt's view of a session: the same frames, seen under that prompt."""

    cache: KVCache
    context: ContextCache


def guided_flow(
    run: Callable[[Branch], tuple[Tensor, Tensor]], prompt: Branch, negative: Branch | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Return the flows of video and actions, the video's led away from the negative prompt.

    Args:
        run: Evaluates the transformer in one branch: flow of the video and of the actions.
        prompt: Branch of the instruction.
        negative: Branch of the negative prompt, or None without guidance.
        scale: Weight of guidance.
    """
    video, action = run(prompt)
    if negative is None:
        return video, action
    away, _ = run(negative)
    return away + scale * (video - away), action
