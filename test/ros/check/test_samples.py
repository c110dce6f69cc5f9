# SPDX-License-Identifier: Apache-2.0
"""Rates and stamps of streams, judged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.ros.check.rows import Result
from dreamzero_ros.ros.check.samples import NS_PER_S, Samples, check_rate, check_stamps

pytestmark = pytest.mark.ros

NOW_NS = 1_790_000_000 * NS_PER_S
MAX_AGE_S, TOLERANCE_S = 0.3, 0.07


def stream(period_s: float = 0.1, age_s: float = 0.02, count: int = 20, now_ns: int = NOW_NS) -> Samples:
    """Messages that arrive steadily, stamped `age_s` before."""
    samples = Samples()
    for index in range(count):
        arrival_ns = now_ns + round(index * period_s * NS_PER_S)
        samples.add(None, arrival_ns - round(age_s * NS_PER_S), arrival_ns)
    return samples


@given(st.floats(-3, 3))
def test_the_age_limit_decides(age_s: float) -> None:
    row = check_stamps("stamps", stream(age_s=age_s), MAX_AGE_S)
    assert (row.result is Result.FAIL) == (abs(age_s) > MAX_AGE_S) or abs(abs(age_s) - MAX_AGE_S) < 1e-6
    assert row.fix or row.result is Result.PASS


@pytest.mark.parametrize(
    ("samples", "result", "finding", "fix"),
    [
        (stream(age_s=0.02), Result.PASS, "20 ms old", ""),
        (stream(age_s=5), Result.FAIL, "5000 ms old", "synchronise the clocks"),
        (stream(age_s=-5), Result.FAIL, "5000 ms in the future", "synchronise the clocks"),
        (stream(age_s=-0.02), Result.WARN, "20 ms in the future", "synchronise the clocks"),
        (stream(age_s=NOW_NS / NS_PER_S - 700), Result.FAIL, "old", "use_sim_time:=true"),
        (stream(age_s=-1.7e9, now_ns=50 * NS_PER_S), Result.FAIL, "future", "use_sim_time:=false"),
        (Samples([(0, NOW_NS + i) for i in range(5)]), Result.FAIL, "no stamp", "capture time"),
        (Samples([(NOW_NS, NOW_NS + i) for i in range(5)]), Result.FAIL, "1 different", "capture time"),
        (
            Samples([*stream().heard, (NOW_NS, NOW_NS + 2 * NS_PER_S)]),
            Result.WARN,
            "at most 2000 ms",
            "delays the driver",
        ),
    ],
)
def test_each_clock_has_its_words(samples: Samples, result: Result, finding: str, fix: str) -> None:
    row = check_stamps("stamps", samples, MAX_AGE_S)
    assert (row.result, finding in row.finding, fix in row.fix) == (result, True, True), row


@given(st.floats(0.005, 0.5))
def test_the_tolerance_decides_on_the_rate(period_s: float) -> None:
    """An image is within the tolerance of any time if the period is at most twice of it."""
    row = check_rate("rate", stream(period_s), TOLERANCE_S, 1.0)
    assert (row.result is Result.FAIL) == (period_s > 2 * TOLERANCE_S) or abs(period_s - 0.14) < 1e-6


@pytest.mark.parametrize(("lost", "result"), [(0, Result.PASS), (2, Result.WARN), (5, Result.FAIL)])
def test_a_gap_shows(lost: int, result: Result) -> None:
    heard = stream(period_s=0.06, count=200).heard
    del heard[50 : 50 + lost]
    row = check_rate("rate", Samples(heard), TOLERANCE_S, MAX_AGE_S)
    assert row.result is result and f"longest gap {60 * (lost + 1)} ms" in row.finding


def test_two_messages_are_no_stream() -> None:
    assert check_rate("rate", stream(count=2), TOLERANCE_S, MAX_AGE_S).result is Result.FAIL
