# SPDX-License-Identifier: Apache-2.0
"""The canvas without a model is the one with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dreamzero_ros.embodiment.frame import make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine.config import SamplerConfig, variant
from dreamzero_ros.engine.weights import random_engine
from dreamzero_ros.policy.canvas import FULL_SIZE, as_dreamed, canvas_of
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")


def test_it_is_what_the_model_sees() -> None:
    policy = DreamZeroPolicy(random_engine("tiny", "cpu", torch.float32), ROBOT, SamplerConfig())
    frame = make_example(ROBOT, np.random.default_rng(1), 1)
    tiny = variant("tiny")
    made = canvas_of(ROBOT, frame.images, (tiny.view_height, tiny.view_width))
    np.testing.assert_array_equal(made.numpy(), policy.infer(frame).canvas)


@pytest.mark.parametrize("name", ["droid_franka", "agibot_g1", "yam"])
def test_the_full_size_is_that_of_the_largest_variant(name: str) -> None:
    robot = load(name)
    frame = make_example(robot, np.random.default_rng(2), 4)
    made = canvas_of(robot, frame.images)
    height, width = FULL_SIZE
    assert made.shape == (4, robot.canvas.rows * height, robot.canvas.columns * width, 3)


def test_it_is_compared_in_the_size_of_the_dream() -> None:
    canvas = np.random.default_rng(3).integers(0, 256, (8, 12, 3), np.uint8)
    assert as_dreamed(canvas, 8, 12) is canvas
    halved = as_dreamed(canvas, 4, 6)
    means = canvas.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    assert halved.dtype == np.uint8 and np.abs(halved - means).max() <= 0.5
