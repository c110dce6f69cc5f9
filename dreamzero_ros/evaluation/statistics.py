# SPDX-License-Identifier: Apache-2.0
"""Values over episodes, and how far they can be trusted: the percentile bootstrap over episodes.

Chunks of one episode resemble each other, episodes do not: whole episodes are drawn with replacement, and the
value is computed anew from their sums, as from those recorded. With one episode nothing can be said.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dreamzero_ros.evaluation.metrics import POLICY, Floats, Metric, Tallies

LEVEL = 95.0
"""Of the intervals [percent]."""
DRAWS = 2000
"""Sets of episodes that are drawn."""
SEED = 0

_PARTS = 256
"""In which values are searched."""
_ROUNDING = 1e-12


@lru_cache(maxsize=1)
def weights(episodes: int) -> Floats:
    """How often each episode counts: (1 + `DRAWS`, N); the first row is what was recorded, each once."""
    drawn = np.random.default_rng(SEED).multinomial(episodes, np.full(episodes, 1 / episodes), DRAWS)
    rows = np.concatenate([np.ones((1, episodes)), drawn])
    rows.setflags(write=False)
    return rows


def values(name: str, metric: Metric, episodes: Sequence[Tallies], row: int = POLICY) -> Floats:
    """(1 + `DRAWS`,) values of a metric for each row of `weights`; NaN where nothing counts.

    Args:
        name: Of the metric.
        metric: See there.
        episodes: At least one.
        row: The policy, or a baseline.
    """
    if metric.values:
        return _percentiles(metric.values, metric.percentile, episodes)
    nothing = np.zeros((row + 1, 2))
    pairs = np.array([episode.sums.get(name, nothing)[row] for episode in episodes])
    return _values_of(metric, weights(len(episodes)) @ pairs)


def value(name: str, metric: Metric, episode: Tallies) -> float:
    """A metric of the policy over one episode; NaN where nothing counts."""
    if metric.values:
        return percentile(episode.values.get(metric.values, np.empty(0)), metric.percentile)
    return float(_values_of(metric, episode.sums[name][POLICY])) if name in episode.sums else np.nan


def interval(metric: Metric, drawn: Floats, informative: int) -> tuple[float, float]:
    """Low and high end; NaN where fewer than two episodes say anything, and for the largest of all values.

    Args:
        metric: See there.
        drawn: (1 + `DRAWS`,) as of `values`, or a difference of two.
        informative: How many episodes say anything.
    """
    known = drawn[1:][np.isfinite(drawn[1:])]
    if informative < 2 or not known.size or (metric.values and metric.percentile == 100):
        return np.nan, np.nan
    low, high = np.percentile(known, [50 - LEVEL / 2, 50 + LEVEL / 2])
    return float(low), float(high)


def percentile(values: Floats, percent: float) -> float:
    """The smallest value that so many percent of all do not exceed; NaN of none."""
    return float(np.percentile(values, percent, method="inverted_cdf")) if values.size else np.nan


def quotient(sums: Floats, counts: Floats) -> Floats:
    """Sums by their counts, of equal shape; NaN where nothing counts."""
    found: Floats = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
    return found


def _values_of(metric: Metric, pairs: Floats) -> Floats:
    """(..., 2) sums and counts -> (...) values."""
    ratios = quotient(pairs[..., 0], pairs[..., 1])
    return np.sqrt(ratios) if metric.root else ratios


def _percentiles(name: str, percent: float, episodes: Sequence[Tallies]) -> Floats:
    """As `percentile`, each value counting as often as its episode.

    For each draw the part of the values that holds the percentile is found first, by counts per episode.
    """
    samples = [episode.values.get(name, np.empty(0)) for episode in episodes]
    owners = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    ascending = np.concatenate(samples)
    order = np.argsort(ascending)
    ascending, owners = ascending[order], owners[order]
    ends = np.linspace(0, len(owners), _PARTS + 1).astype(int)
    parts = np.split(owners, ends[1:-1])
    rows = weights(len(episodes))
    within = rows @ np.stack([np.bincount(part, minlength=len(episodes)) for part in parts], axis=1)
    up_to = within.cumsum(axis=1)
    wanted = up_to[:, -1] * percent / 100 * (1 - _ROUNDING)
    which = (up_to < wanted[:, None]).sum(axis=1)
    found = np.full(len(rows), np.nan)
    for number in np.unique(which):
        draws = np.flatnonzero((which == number) & (wanted > 0))
        before = up_to[draws, number] - within[draws, number]
        counts = before[:, None] + rows[np.ix_(draws, parts[number])].cumsum(axis=1)
        found[draws] = ascending[ends[number] + (counts < wanted[draws, None]).sum(axis=1)]
    return found
