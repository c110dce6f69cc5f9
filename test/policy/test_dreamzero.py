# SPDX-License-Identifier: Apache-2.0
"""The world action model behind the policy boundary."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamzero_ros.embodiment.frame import Frame, make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.normalize import stand_in_statistics
from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.weights import random_engine
from dreamzero_ros.policy.base import Images
from dreamzero_ros.policy.delayed import DelayedPolicy
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")


@pytest.fixture(scope="module")
def engine():
    return random_engine("tiny", "cpu", torch.float32)


@pytest.fixture
def policy(engine) -> DreamZeroPolicy:
    return DreamZeroPolicy(engine, ROBOT, SamplerConfig())


def test_relative_targets_move_with_the_joints_the_gripper_does_not(policy: DreamZeroPolicy) -> None:
    """The arm is decoded against the joints at t_k; the gripper is absolute."""
    frame = make_example(ROBOT, np.random.default_rng(1))
    first = policy.infer(frame)
    spread = np.ptp(first.targets[:, :7] - frame.positions[:7], axis=0)
    assert (spread > 0).all()
    centre = np.abs(first.targets[:, :7] - frame.positions[:7]).max()
    assert centre < 1.0
    finger = first.targets[:, 7]
    assert finger.min() > -0.1 and finger.max() < 0.14


def test_the_wrist_spans_the_top_of_the_canvas(policy: DreamZeroPolicy) -> None:
    frame = make_example(ROBOT, np.random.default_rng(1))
    colours = {"exterior_image_1_left": 10, "exterior_image_2_left": 100, "wrist_image_left": 200}
    images = {name: np.full_like(frame.images[name], value) for name, value in colours.items()}
    canvas = policy.infer(dataclasses.replace(frame, images=images)).canvas[0]
    height, width = canvas.shape[0] // 2, canvas.shape[1] // 2
    quarters = (canvas[:height], canvas[height:, :width], canvas[height:, width:])
    for part, value in zip(quarters, (200, 10, 100), strict=True):
        assert np.abs(part.astype(int) - value).max() <= 1


def test_a_base_that_was_not_trained_for_the_robot_says_so(engine, tmp_path: Path) -> None:
    """The statistics of a robot file make it run; how it moves is unknown."""
    statistics = stand_in_statistics(ROBOT)
    listed = {
        side: {name: {key: v.tolist() for key, v in entry.items()} for name, entry in fields.items()}
        for side, fields in (("state", statistics.state), ("action", statistics.action))
    }
    metadata = {ROBOT.tag: {"statistics": listed}}
    (tmp_path / "statistics.json").write_text(json.dumps(metadata))
    robot = dataclasses.replace(ROBOT, statistics=tmp_path / "statistics.json")
    base = dataclasses.replace(engine, trained=True, source="the base", doubts=("adapters: in doubt",))
    first, second = DreamZeroPolicy(base, robot, SamplerConfig()).doubts
    assert first == "adapters: in doubt"
    assert second.startswith("the base has no statistics of 'oxe_droid', so nothing says")
    trained = dataclasses.replace(base, metadata=metadata, doubts=())
    assert DreamZeroPolicy(trained, ROBOT, SamplerConfig()).doubts == ()
    assert DreamZeroPolicy(engine, ROBOT, SamplerConfig()).doubts == ()


def test_reset_forgets(policy: DreamZeroPolicy) -> None:
    rng = np.random.default_rng(2)
    first, later = make_example(ROBOT, rng), make_example(ROBOT, rng, 4)
    policy.infer(first)
    with_memory = policy.infer(later).targets
    policy.reset()
    without = policy.infer(later)
    assert without.context_frames == 1
    assert not np.allclose(with_memory, without.targets)


def test_the_instruction_is_heard(policy: DreamZeroPolicy) -> None:
    frame = make_example(ROBOT, np.random.default_rng(3))
    one = policy.infer(frame).targets
    other = policy.infer(dataclasses.replace(frame, instruction="leave it")).targets
    assert not np.allclose(one, other)


def test_the_dream_covers_the_time_of_the_chunk(policy: DreamZeroPolicy) -> None:
    assert policy.imagined() is None
    rng = np.random.default_rng(4)
    for images in (1, 4):
        policy.infer(make_example(ROBOT, rng, images))
        video = policy.imagined()
        assert video.shape == (8, 96, 160, 3) and video.dtype == np.uint8


def first_images(frame: Frame) -> Images:
    return {name: images[:2] for name, images in frame.images.items()}


def test_what_it_was_shown_ahead_changes_when_it_answers_not_what(engine) -> None:
    """Be it what the call then brings or not; nothing is encoded ahead of a new window."""
    plain, ahead = (DreamZeroPolicy(engine, ROBOT, SamplerConfig(dit_steps=5)) for _ in range(2))
    rng = np.random.default_rng(5)
    frames = [make_example(ROBOT, rng, images) for images in (1, 4, 4, 4, 4)]
    shown = [frames[0], frames[1], frames[3], frames[3], frames[4]]
    encoding = []
    for frame, other in zip(frames, shown, strict=True):
        ahead.look_ahead(first_images(other))
        chunk = ahead.infer(frame)
        np.testing.assert_allclose(chunk.targets, plain.infer(frame).targets, atol=1e-6, rtol=0)
        encoding += [stage for stage in chunk.latency_s if stage in ("image", "video_encode", "video_rest")]
    assert encoding == ["image", "video_rest", "video_encode", "video_rest", "image"]


def test_a_reset_forgets_what_was_shown_ahead(policy: DreamZeroPolicy) -> None:
    rng = np.random.default_rng(6)
    first, later = make_example(ROBOT, rng), make_example(ROBOT, rng, 4)
    policy.infer(first)
    policy.look_ahead(first_images(later))
    policy.reset()
    policy.infer(first)
    assert "video_encode" in policy.infer(later).latency_s


def test_warm_up_has_seen_every_shape_of_calls_with_and_without_images_ahead(engine) -> None:
    policy = DreamZeroPolicy(engine, ROBOT, SamplerConfig(dit_steps=5))
    seen: list[tuple[torch.Size, ...]] = []
    handles = [
        part.register_forward_pre_hook(lambda _, given: seen.append(tuple(each.shape for each in given)))
        for part in (engine.vae.model.encoder, engine.vae.model.quant_conv)
    ]
    policy.warm_up()
    warm = set(seen)
    seen.clear()
    rng = np.random.default_rng(7)
    for images, shown in ((1, False), (4, True), (4, False), (4, True)):
        frame = make_example(ROBOT, rng, images)
        if shown:
            policy.look_ahead(first_images(frame))
        policy.infer(frame)
    for handle in handles:
        handle.remove()
    assert seen and set(seen) == warm


@pytest.mark.parametrize("offsets", [(-23, -16, -8, 0), (0,), (-16, -12, -8, -4, 0)])
def test_warm_up_learns_how_long_looking_ahead_takes(engine, offsets: tuple[int, ...]) -> None:
    """The engine does it for calls of four images alone."""
    robot = dataclasses.replace(ROBOT, image_offsets_steps=offsets)
    policy = DreamZeroPolicy(engine, robot, SamplerConfig(dit_steps=5))
    assert policy.foresight is None
    seconds = policy.warm_up()
    if len(offsets) == 4:
        assert policy.foresight is not None and policy.foresight.images == 2
        assert 0 < policy.foresight.takes_s < seconds
        assert DelayedPolicy(policy, 0.1, lambda: 0).foresight == policy.foresight
    else:
        assert policy.foresight is None


def test_a_chunk_of_other_length_is_refused(engine) -> None:
    with pytest.raises(ValueError, match=r"48.*24.*horizon: 24"):
        DreamZeroPolicy(engine, dataclasses.replace(ROBOT, horizon=48), SamplerConfig())


def test_a_checkpoint_of_another_robot_is_refused(engine) -> None:
    other = dataclasses.replace(engine, metadata={"agibot": {}}, source="some folder")
    with pytest.raises(CheckpointError, match=r"some folder.*oxe_droid.*agibot"):
        DreamZeroPolicy(other, ROBOT, SamplerConfig())
