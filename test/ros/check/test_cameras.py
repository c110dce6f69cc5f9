# SPDX-License-Identifier: Apache-2.0
"""What is done to images of other sizes, and cameras whose clocks differ."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.ros.check.cameras import check_image, check_together
from dreamzero_ros.ros.check.rows import Result
from dreamzero_ros.ros.check.samples import NS_PER_S, Samples
from dreamzero_ros.ros.messages import image_message

pytestmark = pytest.mark.ros

CAMERA = load("droid_franka").cameras[0]
PERIOD_NS = NS_PER_S // 15


def picture(width: int, height: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


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
@pytest.mark.parametrize("compressed", [False, True])
def test_sizes(width: int, height: int, fit: str, result: Result, words: str, compressed: bool) -> None:
    camera = replace(CAMERA, fit=fit, compressed=compressed)
    message = image_message(picture(width, height), 1, "camera")
    if compressed:
        data = cv2.imencode(".jpg", picture(width, height))[1].tobytes()
        message = CompressedImage(format="jpeg", data=data)
    row = check_image(camera, message, "")
    assert row.result is result and words in row.finding and f"{width}x{height}" in row.finding
    assert bool(row.fix) == (result is Result.WARN)


def test_what_the_node_says_against_an_image_is_said() -> None:
    row = check_image(CAMERA, None, "/a: expected encoding rgb8, got '16UC1'; set the encoding")
    assert (row.result, row.fix) == (Result.FAIL, "set the encoding") and "16UC1" in row.finding


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
