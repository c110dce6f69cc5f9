# SPDX-License-Identifier: Apache-2.0
"""Every shipped robot file, with every choice of its parameters: loads, goes in and out, meets an engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dreamzero_ros.embodiment import layout
from dreamzero_ros.embodiment.frame import make_example
from dreamzero_ros.embodiment.load import embodiment_files, load
from dreamzero_ros.embodiment.normalize import denormalise, normalise_state, stand_in_statistics
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.weights import random_engine
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy

pytestmark = pytest.mark.cpu


def cases() -> list[tuple[str, dict[str, str]]]:
    found = []
    for path in embodiment_files():
        found.append((path.stem, {}))
        parameters = yaml.safe_load(path.read_text()).get("parameters", {})
        found += [
            (path.stem, {name: choice})
            for name, parameter in parameters.items()
            for choice in parameter.get("choices", {})
        ]
    return found


@pytest.mark.parametrize(("name", "parameters"), cases())
def test_robot_file(name: str, parameters: dict[str, str]):
    robot = load(name, parameters)
    for images in (1, len(robot.image_offsets_steps)):
        frame = make_example(robot, np.random.default_rng(0), images)
        assert list(frame.images) == list(frame.image_stamps_ns) == [camera.name for camera in robot.cameras]
        for camera in robot.cameras:
            assert frame.images[camera.name].shape == (images, camera.height, camera.width, 3)
            assert frame.image_stamps_ns[camera.name][-1] == frame.stamp_ns
            assert (np.diff(frame.image_stamps_ns[camera.name]) > 0).all()
        for joint, position in zip(robot.state_joints, frame.positions, strict=True):
            assert robot.limits[joint].lower <= position <= robot.limits[joint].upper
    statistics = stand_in_statistics(robot)
    vector = normalise_state(robot, statistics, frame.positions)
    assert vector.shape == (1, 64)
    assert np.abs(vector).max() <= 1
    back = {
        field: denormalise(values, statistics.state[field], robot.normalisation)
        for field, values in layout.split(robot.state, vector[0]).items()
    }
    np.testing.assert_allclose(layout.state_from_model(robot, back), frame.positions, atol=1e-9)


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return random_engine("tiny", "cpu", torch.float32)


@pytest.mark.parametrize("path", embodiment_files(), ids=lambda path: path.stem)
def test_the_tiny_engine_answers_a_random_frame(path: Path, tiny: Engine):
    robot = load(path)
    policy = DreamZeroPolicy(tiny, robot, SamplerConfig())
    rng = np.random.default_rng(0)
    rows, columns = robot.canvas
    for images in (1, len(robot.image_offsets_steps)):
        chunk = policy.infer(make_example(robot, rng, images))
        assert chunk.joints == robot.command_joints
        assert chunk.targets.shape == (robot.horizon, len(robot.command_joints))
        assert np.isfinite(chunk.targets).all()
        size = (rows * tiny.config.view_height, columns * tiny.config.view_width)
        assert chunk.canvas.shape == (images, *size, 3)
    assert chunk.context_frames == 3


def test_an_example_has_as_many_images_as_a_call():
    with pytest.raises(ValueError, match="expected 1 to 4, got 5"):
        make_example(load("droid_franka"), np.random.default_rng(0), 5)
