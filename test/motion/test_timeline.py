# SPDX-License-Identifier: Apache-2.0
"""Targets are due at their stamps, and lateness is counted from them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from dreamzero_ros.motion.timeline import count_due, due_times_ns, stretched

pytestmark = pytest.mark.cpu
STAMP_NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize("rate_hz", [15, 30, 7])
def test_due_times_do_not_drift(rate_hz: int) -> None:
    """Adding a rounded step 10 000 times would be off by microseconds."""
    due = due_times_ns(STAMP_NS, 1 / rate_hz, 10_000)
    exact = [STAMP_NS + Fraction(10**9 * (i + 1), rate_hz) for i in (0, 1, 23, 9_999)]
    for i, expected in zip((0, 1, 23, 9_999), exact, strict=True):
        assert abs(int(due[i]) - expected) <= 1


def test_counts_what_is_due_before_the_start() -> None:
    due = due_times_ns(STAMP_NS, 0.1, 5)
    for start_ns, dropped in (
        (STAMP_NS, 0),
        (int(due[0]), 0),
        (int(due[0]) + 1, 1),
        (int(due[3]), 3),
        (int(due[4]) + 1, 5),
        (STAMP_NS + 10**12, 5),
    ):
        assert count_due(due, start_ns) == dropped
    assert due.dtype == np.int64


def test_stretching_keeps_one_time_where_it_is() -> None:
    due = due_times_ns(STAMP_NS, 0.1, 24)
    stamp_ns, dt_s = stretched(STAMP_NS, 0.1, 1.7, int(due[5]))
    later = due_times_ns(stamp_ns, dt_s, 24)
    assert later[5] == due[5]
    np.testing.assert_allclose(later - due[5], 1.7 * (due - due[5]), atol=2)
