# SPDX-License-Identifier: Apache-2.0
"""Pacing: chunks arrive before they are needed, whenever the latency allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.policy.pacing import REMEMBERED, Pacing

pytestmark = pytest.mark.cpu


def make(execute_steps: int = 24, quantile: float = 1.0, margin_steps: int = 2) -> Pacing:
    pacing = Pacing(24, execute_steps)
    pacing.adjust(1 / 15, quantile, margin_steps)
    return pacing


def test_without_measurements_everything_is_executed() -> None:
    assert make(margin_steps=0).steps == 24


def test_never_more_than_execute_steps() -> None:
    assert make(execute_steps=8).steps == 8


@given(latency_s=st.floats(0, 5), margin_steps=st.integers(0, 10))
def test_the_next_chunk_arrives_before_this_one_ends(latency_s: float, margin_steps: int) -> None:
    pacing = make(margin_steps=margin_steps)
    pacing.record(latency_s)
    arrival_s = pacing.steps / 15 + latency_s
    assert arrival_s <= 24 / 15 + 1e-6 or pacing.steps == 1


def test_the_bound_is_a_quantile_and_forgets() -> None:
    pacing = make(quantile=0.5)
    for latency_s in [0.1, 0.2, 9.0]:
        pacing.record(latency_s)
    assert pacing.bound_s == 0.2
    for _ in range(REMEMBERED):
        pacing.record(0.3)
    assert pacing.bound_s == 0.3
