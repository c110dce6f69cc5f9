# SPDX-License-Identifier: Apache-2.0
"""Rates, gaps and clocks of a stream, against the same computed from all stamps at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.evaluation.times import JUMP_NS, Times

pytestmark = pytest.mark.cpu

GAP_NS = 100_000_000
PAIRS = st.lists(st.tuples(st.integers(1, JUMP_NS), st.integers(-2 * JUMP_NS, 2 * JUMP_NS)), min_size=2)


@given(pairs=PAIRS)
def test_they_are_those_of_all_stamps_at_once(pairs: list[tuple[int, int]]) -> None:
    times = Times(GAP_NS)
    for stamp, delay in pairs:
        times.add(stamp, stamp + delay)
    stamps, delays = np.array(pairs).T
    newest = np.maximum.accumulate(stamps)
    steps = stamps[1:] - newest[:-1]
    assert (times.count, times.unset) == (len(pairs), 0)
    assert (times.first_ns, times.last_ns) == (stamps.min(), stamps.max())
    assert times.gaps == (steps > GAP_NS).sum()
    assert times.longest_ns == max(steps.max(), 0)
    assert times.backward == (steps < 0).sum()
    assert times.jumps == (np.abs(np.diff(delays)) > JUMP_NS).sum()
    assert (times.least_delay_ns, times.most_delay_ns) == (delays.min(), delays.max())


def test_a_clock_that_is_set_back_begins_anew() -> None:
    times = Times(GAP_NS)
    for stamp in (10, 11, 4, 4.05, 4.5):
        times.add(round(stamp * 1e9), 20 * 10**9)
    assert (times.backward, times.gaps) == (1, 2)
    assert (times.first_ns, times.last_ns) == (4 * 10**9, 11 * 10**9)


def test_the_rate_is_that_of_the_stamps() -> None:
    times = Times(GAP_NS)
    for step in range(31):
        times.add(10**9 + step * 10**9 // 30, 5)
    assert times.rate_hz == pytest.approx(30)


def test_unset_stamps_take_no_part() -> None:
    times = Times(GAP_NS)
    for stamp in (0, 7, 0, 9):
        times.add(stamp, 10)
    assert (times.count, times.unset, times.stamped) == (4, 2, 2)
    assert (times.first_ns, times.last_ns, times.backward, times.jumps) == (7, 9, 0, 0)
