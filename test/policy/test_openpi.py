# SPDX-License-Identifier: Apache-2.0
"""The reference server's rules, against its recorded behaviour."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dreamzero_ros.policy.openpi import CAMERAS, ImageHistory, pack_actions

pytestmark = pytest.mark.cpu


def test_images_given_to_the_model(goldens: Path) -> None:
    cases = json.loads((goldens / "server.json").read_text())["cases"]
    assert cases
    for case in cases:
        history = ImageHistory()
        for sent, given in zip(case["sent_frames"], case["frames_given_to_model"], strict=True):
            observation = {key: picture(sent, case["camera_value_offset"][key]) for key in CAMERAS}
            seen = history.take(observation)
            values = {f"video.{camera}": images[:, 0, 0, 0].tolist() for camera, images in seen.items()}
            assert values == given, case["name"]


def picture(values: list[int], offset: int) -> np.ndarray:
    images = np.stack([np.full((2, 3, 3), value + offset, np.uint8) for value in values])
    return images[0] if len(values) == 1 else images


def test_action_array(goldens: Path) -> None:
    vectors = np.load(goldens / "server.npz")
    names = {key.split(".")[0] for key in vectors.files}
    assert names
    for name in names:
        packed = pack_actions(vectors[f"{name}.joint"], vectors[f"{name}.gripper"])
        assert packed.dtype == np.float32
        np.testing.assert_array_equal(packed, vectors[f"{name}.out"])


def test_bad_observations_are_refused() -> None:
    with pytest.raises(ValueError, match="wrist_image_left"):
        ImageHistory().take({key: np.zeros((2, 3, 3), np.uint8) for key in list(CAMERAS)[:2]})
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\)"):
        ImageHistory().take(dict.fromkeys(CAMERAS, np.zeros((2, 3), np.uint8)))
