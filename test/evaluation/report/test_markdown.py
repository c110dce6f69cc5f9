# SPDX-License-Identifier: Apache-2.0
"""The table for a pull request."""

from __future__ import annotations

from typing import Any

import pytest
from episodes import make_episode
from reports import HOSTILE, make_summary

from dreamzero_ros.evaluation.metrics import definitions
from dreamzero_ros.evaluation.report.markdown import WIDTH, markdown

pytestmark = pytest.mark.cpu


def test_it_has_value_interval_and_baselines() -> None:
    lines = markdown(_summary(rmse=_metric("rad", 0.0421, hold=0.113), psnr=_metric("dB", None))).splitlines()
    table = [line for line in lines if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert rows[0] == ["metric", "value", "95 %", "hold still", "repeat"]
    assert rows[2:] == [["rmse", "0.0421 rad", "0.0379 to 0.0463", "0.113", ""]]
    assert len({len(line) for line in table}) == 1


def test_lines_are_narrow() -> None:
    metrics = {
        name: _metric(metric.unit, 12345.6, hold=12345.6)
        for name, metric in definitions(("rad", "m", "ratio"), 24).items()
    }
    assert max(map(len, markdown(_summary(**metrics)).splitlines())) <= WIDTH


def test_names_stay_in_their_line_and_are_no_markup() -> None:
    summary = make_summary({"a": make_episode(policy=HOSTILE)})
    text = markdown(summary)
    assert "<" not in text.replace("\\<", "")
    assert len(text.splitlines()) == len(markdown(summary | {"policy": "x"}).splitlines())


def _summary(**metrics: Any) -> dict[str, Any]:
    return make_summary({"a": make_episode()}) | {"metrics": metrics, "failed": []}


def _metric(unit: str, value: float | None, hold: float | None = None) -> dict[str, Any]:
    ends = {"low": value and 0.9 * value, "high": value and 1.1 * value}
    return {
        "value": value,
        "unit": unit,
        "better": "lower",
        "text": "",
        "repeat": None,
        **ends,
        "hold": hold and {"value": hold, "low": None, "high": None},
    }
