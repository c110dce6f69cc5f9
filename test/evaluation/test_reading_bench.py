# SPDX-License-Identifier: Apache-2.0
"""The two ways that are timed against each other do work."""

from __future__ import annotations

import pytest

from dreamzero_ros.evaluation import reading_bench

pytestmark = pytest.mark.cpu


def test_both_ways_are_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each refuses to be timed when it does not make its frames."""
    monkeypatch.setattr(reading_bench, "SECONDS", 4)
    monkeypatch.setattr(reading_bench, "REPEATS", 1)
    results = reading_bench.measure()
    assert len(results) == 2 and min(results.values()) > 0
    reading_bench.print_table(results)
    printed = capsys.readouterr().out
    assert all(f"{value:.1f}" in printed for value in results.values())
