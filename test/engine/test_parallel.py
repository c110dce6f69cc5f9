# SPDX-License-Identifier: Apache-2.0
"""How ranks are arranged, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from quiet import quiet_ranks

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.parallel import join
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, switches

pytestmark = pytest.mark.cpu


def test_heads_that_cannot_be_shared_evenly(engine: Engine) -> None:
    with pytest.raises(
        ValueError, match=r"3 heads cannot be shared evenly by 2 ranks; .* divides the heads: 1, 3"
    ):
        Session(engine, SamplerConfig(), ranks=quiet_ranks(1, 2))


@pytest.mark.parametrize(
    ("sampler", "chosen"),
    [
        (SamplerConfig(guidance_scale=1.0), EAGER),
        (SamplerConfig(num_steps=1, dit_steps=1), switches(["trim_guidance"])),
    ],
)
def test_guidance_that_there_is_not_cannot_be_split(engine: Engine, sampler, chosen) -> None:
    with pytest.raises(ValueError, match="guidance cannot be split over ranks: the sampler has no negative"):
        Session(engine, sampler, switches=chosen, ranks=quiet_ranks(2, 1))


@pytest.mark.parametrize(("size", "split_guidance"), [(1, False), (0, True), (3, True)])
def test_numbers_of_ranks_that_do_not_fit(tmp_path: Path, size: int, split_guidance: bool) -> None:
    meeting = f"file://{tmp_path / 'meeting'}"
    with pytest.raises(ValueError, match=f"size: expected .* ranks, got {size}"):
        join(meeting, 0, size, torch.device("cpu"), split_guidance=split_guidance)
