# SPDX-License-Identifier: Apache-2.0
"""Values over drawn episodes against the same computed from the episodes themselves, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.evaluation.metrics import HOLD, Metric, Tallies
from dreamzero_ros.evaluation.statistics import DRAWS, interval, percentile, value, values, weights

pytestmark = pytest.mark.cpu

FEW = settings(max_examples=20, deadline=None, database=None)
MEAN = Metric(unit="rad", better="lower", text="")
ROOT = Metric(unit="rad", better="lower", text="", root=True)
P90 = Metric(unit="s", better="lower", text="", values="times", percentile=90)
LARGEST = Metric(unit="s", better="lower", text="", values="times", percentile=100)


def tallies(samples: list[float]) -> Tallies:
    """Of a sum with baselines, the first of which counts everything ten times as large, and of values."""
    array = np.array(samples, float)
    pair = np.array([array.sum(), array.size])
    pairs = np.stack([pair, pair * [10, 1], pair * 0])
    return Tallies(sums={"error": pairs}, values={"times": array})


def joined(episodes: list[list[float]], counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.tile(part, int(n)) for part, n in zip(episodes, counts, strict=True)])


@FEW
@given(
    episodes=st.lists(st.lists(st.floats(0, 100), max_size=6), min_size=1, max_size=6),
    draw=st.integers(0, DRAWS),
)
def test_a_draw_is_the_value_over_the_drawn_episodes(episodes: list[list[float]], draw: int) -> None:
    reduced = [tallies(part) for part in episodes]
    drawn = joined(episodes, weights(len(episodes))[draw])
    mean, p90 = (
        (drawn.mean(), np.percentile(drawn, 90, method="inverted_cdf")) if drawn.size else (np.nan,) * 2
    )
    assert values("error", MEAN, reduced)[draw] == pytest.approx(mean, nan_ok=True)
    assert values("error", ROOT, reduced)[draw] == pytest.approx(np.sqrt(mean), nan_ok=True)
    assert values("error", MEAN, reduced, HOLD)[draw] == pytest.approx(10 * mean, nan_ok=True)
    assert values("times", P90, reduced)[draw] == pytest.approx(p90, nan_ok=True)


def test_many_values_are_weighed_in_parts() -> None:
    rng = np.random.default_rng(0)
    episodes = [rng.random(1000).tolist() for _ in range(3)]
    found = values("times", P90, [tallies(part) for part in episodes])
    assert len(found) == 1 + DRAWS
    for draw in (0, 1, 1000, DRAWS):
        drawn = joined(episodes, weights(3)[draw])
        assert found[draw] == np.percentile(drawn, 90, method="inverted_cdf")


def test_the_first_row_is_what_was_recorded_and_the_others_are_draws_with_replacement() -> None:
    rows = weights(7)
    assert rows.shape == (1 + DRAWS, 7)
    assert (rows[0] == 1).all()
    assert (rows.sum(axis=1) == 7).all()
    assert len({tuple(row) for row in rows[1:]}) > 0.5 * min(DRAWS, 1716)  # 1716 different draws of 7 of 7
    assert rows[1:].mean() == pytest.approx(1)
    assert rows[1:].var() == pytest.approx(1 - 1 / 7, rel=0.05)


def test_one_episode_alone_gives_values_without_interval() -> None:
    one = tallies([1, 2, 3])
    assert value("error", MEAN, one) == 2
    assert value("times", P90, one) == 3
    assert np.isnan(value("other", MEAN, one))
    assert np.isnan(interval(MEAN, values("error", MEAN, [one]), 1)).all()


def test_no_interval_from_what_only_one_episode_says() -> None:
    silent = Tallies(sums={}, values={})
    reduced = [tallies([1, 2, 3]), silent, silent]
    assert values("error", MEAN, reduced)[0] == 2
    assert [MEAN.known("error", episode) for episode in reduced] == [True, False, False]
    assert np.isnan(interval(MEAN, values("error", MEAN, reduced), 1)).all()
    without = weights(3)[:, 0] == 0
    assert without.any()
    np.testing.assert_array_equal(np.isnan(values("times", P90, reduced)), without)


def test_no_interval_for_the_largest_of_all() -> None:
    reduced = [tallies([1, 5]), tallies([2, 3])]
    drawn = values("times", LARGEST, reduced)
    assert drawn[0] == 5
    assert np.isnan(interval(LARGEST, drawn, 2)).all()


def test_percentiles_are_values_that_were_there() -> None:
    assert percentile(np.array([1.0, 2, 3, 4]), 50) == 2
    assert percentile(np.array([1.0, 2, 3, 4]), 99) == 4
    assert np.isnan(percentile(np.empty(0), 50))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """The ratio of sums over 40 episodes of different length, whose true value is 3; 300 times."""
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(300):
        counts = rng.integers(5, 50, 40)
        means = rng.normal(3, 1, 40)
        reduced = [
            Tallies(sums={"error": np.array([[m * n, n]])}, values={})
            for m, n in zip(means, counts, strict=True)
        ]
        low, high = interval(MEAN, values("error", MEAN, reduced), 40)
        hits.append(low < 3 < high)
    assert 0.90 < np.mean(hits) < 0.98


def test_intervals_narrow_with_the_root_of_the_number_of_episodes() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for count in (25, 400):
        reduced = [tallies(rng.normal(size=20).tolist()) for _ in range(count)]
        low, high = interval(MEAN, values("error", MEAN, reduced), count)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)
