# SPDX-License-Identifier: Apache-2.0
"""Which layers bear fewer bits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dreamzero_ros.engine.sensitivity import KINDS, measure
from dreamzero_ros.engine.weights import random_engine

pytest.importorskip("torchao", reason="torchao is not installed: requirements/torchao.txt")

pytestmark = pytest.mark.cpu


@pytest.mark.slow
def test_what_stays_native_makes_most_of_the_error() -> None:
    """And the weights are native again afterwards."""
    engine = random_engine("tiny", "cpu", torch.float32, seed=3)
    before = dict(engine.transformer.named_parameters())
    rows = {name: (count, errors) for name, count, errors in measure(engine, "fp8", "5")}
    assert all(engine.transformer.get_parameter(name) is weight for name, weight in before.items())

    assert list(rows) == [*KINDS, "as linear_format does", "all of them"]
    layers = engine.config.transformer.num_layers
    in_blocks = [
        m for block in engine.transformer.blocks for m in block.modules() if isinstance(m, nn.Linear)
    ]
    assert rows["all of them"][0] == len(in_blocks) == sum(rows[kind][0] for kind in KINDS)
    assert rows["as linear_format does"][0] == 7 * layers
    chosen, everything = rows["as linear_format does"][1], rows["all of them"][1]
    assert all(0 < part < whole / 1.5 for part, whole in zip(chosen, everything, strict=True))
    worst = max(KINDS, key=lambda kind: rows[kind][1][0])
    assert worst in ("cross attention o", "cross attention image k, v")
