# SPDX-License-Identifier: Apache-2.0
"""What is done to images of other sizes, and cameras whose clocks differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.judgement import Judgement, ObservationError
from dreamzero_ros.ros.check.cameras import check_image, check_together
from dreamzero_ros.ros.check.rows import Result
from dreamzero_ros.ros.check.samples import NS_PER_S, Samples

pytestmark = pytest.mark.ros

CAMERA = load("droid_franka").cameras[0]
PERIOD_NS = NS_PER_S // 15


@pytest.mark.parametrize(
    ("width", "height", "fit", "result", "words"),
    [
        (320, 180, "letterbox", Result.PASS, "as in the robot file"),
        (1280, 720, "letterbox", Result.PASS, "scaled to 320x180"),
        (640, 480, "letterbox", Result.WARN, "black bars take 25%"),
        (640, 480, "crop", Result.WARN, "25% of the image is cut off"),
        (640, 480, "stretch", Result.WARN, "distorted by 25%"),
        (160, 90, "crop", Result.WARN, "enlarged"),
    ],
)
@pytest.mark.parametrize("encoding", ["rgb8", "jpeg"])
def test_sizes(width: int, height: int, fit: str, result: Result, words: str, encoding: str) -> None:
    row = check_image(replace(CAMERA, fit=fit), (width, height), encoding, Judgement(received=9))
    assert row.result is result and words in row.finding and f"{width}x{height} {encoding}" in row.finding
    assert bool(row.fix) == (result is Result.WARN)


@pytest.mark.parametrize(("refused", "result"), [(100, Result.FAIL), (11, Result.FAIL), (10, Result.WARN)])
def test_images_that_cannot_be_used_are_counted(refused: int, result: Result) -> None:
    judgement = Judgement(received=100)
    for _ in range(refused):
        judgement.refuse(ObservationError("/a", "encoding rgb8", "'16UC1'", "set the encoding"))
    row = check_image(CAMERA, (320, 180), "16UC1", judgement)
    assert (row.result, row.fix) == (result, "set the encoding")
    assert row.finding == f"{refused} of 100 images cannot be used: expected encoding rgb8, got '16UC1'"


def cameras(behind_s: float = 0.0, every: int = 1, phase_s: float = 0.0) -> dict[str, Samples]:
    """Two cameras, the second with a clock behind, fewer images, or shots at other times."""
    first = [(index * PERIOD_NS, index * PERIOD_NS + 5) for index in range(60)]
    shift_ns, behind_ns = round(phase_s * NS_PER_S), round(behind_s * NS_PER_S)
    second = [(stamp + shift_ns - behind_ns, arrival + shift_ns) for stamp, arrival in first[::every]]
    return {"exterior": Samples(first), "wrist": Samples(second)}


@pytest.mark.parametrize(
    ("images", "result", "words"),
    [
        (cameras(), Result.PASS, "within 0 ms"),
        (cameras(phase_s=0.03), Result.PASS, "within 30 ms"),
        (cameras(behind_s=0.2), Result.FAIL, "wrist is stamped 200 ms behind exterior"),
        (cameras(behind_s=-0.2), Result.FAIL, "exterior is stamped 200 ms behind wrist"),
        ({**cameras(), "third": Samples()}, Result.SKIPPED, "not every camera"),
    ],
)
def test_clocks_that_differ_show(images: dict[str, Samples], result: Result, words: str) -> None:
    row = check_together(images, 0.07)
    assert row.result is result and words in row.finding


def test_sets_that_lie_apart_show() -> None:
    row = check_together(cameras(phase_s=0.03), 0.02)
    assert row.result is Result.FAIL and "within 30 ms" in row.finding and row.fix
