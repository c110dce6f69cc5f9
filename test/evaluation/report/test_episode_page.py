# SPDX-License-Identifier: Apache-2.0
"""What a page of an episode is given to draw, against the episode."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from episodes import DT_S, START_NS, make_episode, replace, waves
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reports import save_pictures

from dreamzero_ros.evaluation.report import episode_page
from dreamzero_ros.evaluation.report.episode_page import page_data, thinned

pytestmark = pytest.mark.cpu

ROWS = arrays(np.float64, st.tuples(st.integers(3, 200), st.integers(1, 3)), elements=st.floats(-9, 9))


def unpacked(text: str, kind: str = "<f4") -> Any:
    return np.frombuffer(base64.b64decode(text), kind)


def line(data: dict[str, Any], name: str) -> tuple[Any, Any]:
    """Times (N,) and values (N, J) of a line."""
    entry = data["lines"][name]
    times_s = unpacked(entry["times"], "<f8")
    return times_s, unpacked(entry["values"]).reshape(-1, len(times_s)).T


@given(values=ROWS, share=st.floats(0.1, 1))
@settings(max_examples=50, deadline=None, database=None)
def test_a_thinned_line_keeps_its_extremes(values: Any, share: float) -> None:
    most = max(2 * values.shape[1], int(share * values.size))
    times_s, thin = thinned(np.arange(len(values), dtype=float), values, most)
    assert thin.shape == (len(times_s), values.shape[1])
    assert thin.size <= most + 2 * values.shape[1]
    assert (np.diff(times_s) >= 0).all()
    np.testing.assert_array_equal(thin.max(axis=0), values.max(axis=0))
    np.testing.assert_array_equal(thin.min(axis=0), values.min(axis=0))


def test_overlapping_calls_become_one_line(tmp_path: Path) -> None:
    times_s, values = line(page_data(make_episode(calls=5, steps=7), tmp_path, ()), "recorded")
    np.testing.assert_allclose(np.diff(times_s), DT_S, atol=1e-6)
    np.testing.assert_allclose(values[:, :2], waves(times_s)[:, :2], atol=1e-5)


def test_a_refused_chunk_leaves_the_one_before_in_place(tmp_path: Path) -> None:
    """The plan of each call is a level of its own; that of the refused one must not be seen."""
    episode = make_episode(calls=4, steps=8, used=np.array([21, 21, 0, 21]))
    levels = np.where(np.isnan(episode.calls.planned), np.nan, np.arange(4.0)[:, None, None])
    times_s, values = line(page_data(replace(episode, planned=levels), tmp_path, ()), "planned")
    answered_s = (episode.calls.answered_ns - START_NS) / 1e9
    assert set(values[:, 0]) == {0, 1, 3}
    assert (values[times_s < answered_s[1], 0] == 0).all()
    assert (values[(times_s > answered_s[1]) & (times_s < answered_s[3]), 0] == 1).all()


def test_predictions_far_off_do_not_flatten_the_plot(tmp_path: Path) -> None:
    data = page_data(make_episode(predicted=lambda t_s: 1e6 + waves(t_s)), tmp_path, ())
    assert data["joints"][0]["high"] <= 1e6 + 1
    assert unpacked(data["chunks"]["values"]).max() > 1e5
    without = make_episode(predicted=lambda t_s: 1e6 + waves(t_s), planned=make_episode().calls.planned)
    assert page_data(without, tmp_path, ())["joints"][0]["high"] == 1.0


def test_pages_of_long_episodes_stay_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(episode_page, "MOST_VALUES", 3000)
    data = page_data(make_episode(calls=300), tmp_path, ())
    assert data["chunks"]["every"] == 8
    assert len(unpacked(data["chunks"]["begin"], "<f8")) == 38
    for packed in (data["chunks"], *data["lines"].values()):
        assert unpacked(packed["values"]).size <= 3000 + 3 * 24


def test_only_pictures_that_are_there_are_asked_for(tmp_path: Path) -> None:
    episode = make_episode()
    save_pictures(tmp_path, 3)
    pictures = page_data(episode, tmp_path, ())["pictures"]
    missing = len(episode.pictures_ns) - 3
    assert unpacked(pictures["observed"], "u1").tolist() == [1, 1, 1] + missing * [0]
    assert unpacked(pictures["dreamed"], "u1").tolist() == [1, 0, 1] + missing * [0]


@pytest.mark.parametrize("calls", [0, 1])
def test_an_episode_with_hardly_a_call_has_a_page(calls: int, tmp_path: Path) -> None:
    episode = make_episode(calls=2)
    few = {field: getattr(episode.calls, field)[:calls] for field in vars(episode.calls)}
    data = page_data(replace(episode, **few, upper=np.full(3, np.inf)), tmp_path, ())
    assert json.loads(json.dumps(data, allow_nan=False))["joints"][0]["upper"] is None
