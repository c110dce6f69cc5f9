# SPDX-License-Identifier: Apache-2.0
"""The dynamic rule for reusing flows."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.stepcache import step_plan

pytestmark = pytest.mark.cpu


def pair(similarity, batch=1):
    """Two flows of the given cosine similarity in every sample."""
    older = torch.tensor([1.0, 0.0]).expand(batch, 2)
    newer = torch.tensor([similarity, (1 - similarity**2) ** 0.5]).expand(batch, 2)
    return [older, newer]


def decisions(similarities):
    """Decide with one similarity per step, the first two steps without any."""
    plan = step_plan(SamplerConfig(dit_steps="dynamic"))
    flows = [[], pair(0.0)[:1], *map(pair, similarities)]
    return [plan.computes(step, given) for step, given in enumerate(flows)], plan.similarities


@pytest.mark.parametrize(("similarity", "skipped"), [(0.96, 4), (0.94, 2), (0.92, 0)])
def test_skips_then_computes_then_decides_anew(similarity, skipped):
    ran, seen = decisions([similarity, *[0.0] * 8])
    assert ran[:2] == [True, True]
    assert ran[2:] == [False] * skipped + [True] * (9 - skipped)
    assert seen[0] == pytest.approx(similarity)
    assert len(seen) == 9 - skipped, "a skip asks once, and the step after it is computed without asking"


def test_similarity_is_averaged_over_the_batch():
    plan = step_plan(SamplerConfig(dit_steps="dynamic"))
    older, alike = pair(1.0)
    _, apart = pair(0.0)
    plan.computes(2, [older.expand(2, 2), torch.cat([alike, apart])])
    assert plan.similarities == pytest.approx([0.5])


def test_all_steps_can_be_computed_at_any_number():
    plan = step_plan(SamplerConfig(num_steps=10, dit_steps=10))
    assert all(plan.computes(step, []) for step in range(10))
