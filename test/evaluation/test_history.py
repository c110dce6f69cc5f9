# SPDX-License-Identifier: Apache-2.0
"""Positions between measurements, and nothing where there were none."""

from __future__ import annotations

import numpy as np
import pytest

from dreamzero_ros.evaluation.history import History

pytestmark = pytest.mark.cpu


def filled(times_ns: list[int]) -> History:
    history = History(2, span_ns=100, gap_ns=10)
    for time_ns in times_ns:
        history.add(time_ns, np.array([float(time_ns), 1.0]))
    return history


def test_between_measurements_it_interpolates_and_knows_no_more() -> None:
    history = filled([10, 20, 28, 50])
    found = history.at(np.array([9, 10, 13, 20, 27, 30, 49, 50, 51]))
    np.testing.assert_array_equal(found[:, 0], [np.nan, 10, 13, 20, 27, np.nan, np.nan, 50, np.nan])
    assert history.newest_ns == 50


def test_before_the_first_measurement_nothing_is_known() -> None:
    history = filled([])
    assert np.isnan(history.at(np.array([1, 2]))).all() and history.newest_ns is None


def test_it_forgets_what_is_older_and_what_was_before_the_clock_went_back() -> None:
    history = filled(list(range(0, 1000, 10)))
    assert np.isfinite(history.at(np.array([890, 990]))).all()
    assert np.isnan(history.at(np.array([100]))).all()
    history.add(500, np.zeros(2))
    assert np.isnan(history.at(np.array([900]))).all() and (history.at(np.array([500])) == 0).all()
