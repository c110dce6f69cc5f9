# SPDX-License-Identifier: Apache-2.0
"""Ticks enclose what is drawn; lines break where there is no value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.evaluation.report.chart import Line, line_chart, ticks

pytestmark = pytest.mark.cpu


@given(low=st.floats(-1e3, 1e3), span=st.floats(1e-4, 1e6), about=st.integers(2, 8))
@settings(max_examples=50, deadline=None, database=None)
def test_ticks_are_few_and_enclose_the_range(low: float, span: float, about: int) -> None:
    found = ticks(low, low + span, about)
    step = found[1] - found[0]
    assert found[0] <= low + 1e-6 * step
    assert found[-1] >= low + span - 1e-6 * step
    assert len(found) <= 3 * about + 2


def test_a_line_breaks_where_there_is_no_value() -> None:
    chart = line_chart([1, 2, 3, 4, 5], [Line("a", [1, 2, None, 4, 5], "policy")], "x", "y", from_zero=True)
    assert chart.count("<polyline") == 2
    assert chart.count("<circle") == 4


def test_names_are_escaped() -> None:
    chart = line_chart([1, 2], [Line("<b>", [1, 2], "policy")], "<i>", "<u>", from_zero=False)
    assert not {"<b>", "<i>", "<u>"} & set(chart.split('"'))
    assert "&lt;b&gt;" in chart


def test_without_values_there_is_no_chart() -> None:
    assert not line_chart([1, 2], [Line("a", [None, None], "policy")], "x", "y", from_zero=True)
