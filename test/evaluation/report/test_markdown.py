# SPDX-License-Identifier: Apache-2.0
"""The table for a pull request."""

from __future__ import annotations

import pytest
from episodes import make_episode
from reports import HOSTILE, make_summary

from dreamzero_ros.evaluation.report.markdown import WIDTH, markdown

pytestmark = pytest.mark.cpu


def test_it_has_value_interval_and_baselines_in_narrow_lines() -> None:
    lines = markdown(make_summary({"a": make_episode()})).splitlines()
    table = [line for line in lines if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    cells = {name: rest for name, *rest in rows}
    assert cells["metric"] == ["value", "95 %", "hold still", "repeat last motion"]
    assert cells["rmse"] == ["0.0421 rad", "0.0379 to 0.0463 rad", "0.113 rad", "0.0876 rad"]
    assert cells["latency_p99"] == ["1.21 s", "1.09 to 1.33 s", "", ""]
    assert cells["psnr"] == ["22 dB", "", "", ""]
    assert "ee_position_mm" not in cells
    assert len({len(line) for line in table}) == 1
    assert max(map(len, lines)) <= WIDTH


def test_names_stay_in_their_line_and_are_no_markup() -> None:
    summary = make_summary({"a": make_episode(policy=HOSTILE)})
    text = markdown(summary)
    assert "<" not in text.replace("\\<", "")
    assert len(text.splitlines()) == len(markdown(summary | {"policy": "x"}).splitlines())
