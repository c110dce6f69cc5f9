# SPDX-License-Identifier: Apache-2.0
"""Real footage with a simulated arm becomes a bag, and the bag a report that a browser shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import CHROMIUM, MISSING
from report_check import assert_pages_work

from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.run_command import COMPLETE
from dreamzero_ros.evaluation.summary import read_summary

pytestmark = pytest.mark.cpu

CLIP = Path(__file__).parents[3] / "shared" / "data" / "droid_clip"
ROBOT = ("--embodiment", "droid_franka")
MODEL = ("--set", "random_weights=tiny", "--set", "device=cpu", "--set", "dtype=float32", "--latency", "0.3")


@pytest.mark.skipif(not CLIP.is_dir(), reason="the recorded DROID clip is not on this machine")
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_from_real_videos_to_pages(tmp_path: Path) -> None:
    bag, out, times = tmp_path / "droid.mcap", tmp_path / "out", tmp_path / "times.txt"
    times.write_text("0 6 put the marker into the cup\n")
    assert main(["make-bag", str(CLIP), *ROBOT, "--out", str(bag)]) == COMPLETE
    run = ["run", str(bag), *ROBOT, *MODEL, "--episodes-times", str(times), "--out", str(out)]
    assert main(run) == COMPLETE
    metrics = read_summary(out)["metrics"]
    assert metrics["rmse"]["hold"]["value"] > 0.001, "the arm did not move"
    assert 3 < metrics["psnr"]["value"] < 60 and metrics["deadline_misses"]["value"] == 0
    assert_pages_work(out)
