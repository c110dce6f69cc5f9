# SPDX-License-Identifier: Apache-2.0
"""The list of metrics, and tallies as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dreamzero_ros.evaluation.metrics import Tallies, definitions

pytestmark = pytest.mark.cpu

EXPECTED = {
    *(f"{name}{at}" for name in ("rmse", "mae") for at in ("", "@1", "@8", "@24")),
    *(
        "final_error",
        "direction",
        "gripper_accuracy",
        "gripper_timing_s",
        "ee_position_mm",
        "ee_rotation_deg",
    ),
    *(f"{kind}_jump_{what}" for kind in ("raw", "spliced") for what in ("position", "velocity")),
    *("raw_jerk", "planned_jerk", "limit_hits", "deadline_misses", "targets_dropped", "psnr", "ssim"),
    *(f"{time}_p{p}" for time in ("observation_age", "latency", "image_age") for p in (50, 90, 99)),
}
"""What reports name."""


def test_the_metrics_of_a_report() -> None:
    assert set(definitions({"rad"}, 24)) >= EXPECTED
    assert not any(name.endswith("_m") for name in definitions({"rad"}, 24))


def test_units_have_metrics_of_their_own() -> None:
    both = definitions({"m", "rad"}, 24)
    assert (both["rmse"].unit, both["rmse_m"].unit, both["raw_jerk_m"].unit) == ("rad", "m", "m/s^3")
    assert list(both).index("rmse") < list(both).index("rmse_m")
    assert "rmse" not in definitions({"m"}, 24) and "direction" in definitions({"m"}, 24)


def test_targets_beyond_the_horizon_have_none() -> None:
    short = definitions({"rad"}, 10)
    assert "mae@8" in short and "mae@24" not in short


def test_tallies_come_back_from_json_exactly() -> None:
    rng = np.random.default_rng(0)
    tallies = Tallies(
        sums={"rmse": rng.random((3, 2)), "psnr": rng.random((1, 2))},
        values={"latency": rng.random(5), "image_age": np.empty(0)},
    )
    back = Tallies.of(json.loads(json.dumps(tallies.content())))
    for ours, theirs in ((tallies.sums, back.sums), (tallies.values, back.values)):
        assert list(ours) == list(theirs)
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name])
            assert array.shape == theirs[name].shape
