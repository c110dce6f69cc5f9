# SPDX-License-Identifier: Apache-2.0
"""A gripper's blips do not show; its edges stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.motion.gripper import debounced

pytestmark = pytest.mark.cpu
LIMITS = st.integers(0, 4)


def column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


@st.composite
def lasting(draw: st.DrawFn, steps: int) -> list[float]:
    """Levels that each last longer than `steps`."""
    levels = draw(st.lists(st.floats(0, 1, width=16), min_size=1, max_size=6))
    return [level for level in levels for _ in range(steps + draw(st.integers(1, 4)))]


@given(LIMITS, st.data())
def test_what_lasts_is_neither_moved_nor_lost(steps: int, data: st.DataObject) -> None:
    values = data.draw(lasting(steps))
    commanded = np.array([data.draw(st.floats(0, 1))])
    np.testing.assert_array_equal(debounced(column(values), commanded, steps), column(values))


@given(st.integers(1, 4), st.data())
def test_a_blip_shorter_than_the_limit_never_shows(steps: int, data: st.DataObject) -> None:
    """In a chunk of levels that last, with a blip before any of them, also before the first."""
    before, wanted, values = data.draw(st.sampled_from([0.0, 1.0])), [], []
    held = before
    for level in data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=5)):
        blip = data.draw(st.integers(0, steps))
        values += [1.0 - held] * blip + [held] * (steps + 1) + [level] * (steps + 1)
        wanted += [held] * (blip + steps + 1) + [level] * (steps + 1)
        held = level
    np.testing.assert_array_equal(debounced(column(values), np.array([before]), steps), column(wanted))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=24), st.floats(0, 1), LIMITS)
def test_it_never_leaves_what_was_asked(values: list[float], before: float, steps: int) -> None:
    out = debounced(column(values), np.array([before]), steps)
    assert out.min() >= min(values)
    assert out.max() <= max(values)
    assert out[-1] == values[-1]
    if steps == 0:
        np.testing.assert_array_equal(out, column(values))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=24), LIMITS)
def test_slow_closing_is_followed(values: list[float], steps: int) -> None:
    closing = column(sorted(values, reverse=True))
    np.testing.assert_array_equal(debounced(closing, np.ones(1), steps), closing)


def test_a_blip_at_the_boundary_of_chunks_does_not_show() -> None:
    """Without knowing what was commanded the first two targets would look like a level."""
    closed_blip = column([0.0, 0.0, *[1.0] * 10])
    assert (debounced(closed_blip, np.ones(1), 2) == 1.0).all()
    assert debounced(closed_blip, np.zeros(1), 2)[0] == 0.0


def test_a_change_at_the_end_of_a_chunk_is_made() -> None:
    assert debounced(column([*[1.0] * 10, 0.0]), np.ones(1), 2)[-1] == 0.0
