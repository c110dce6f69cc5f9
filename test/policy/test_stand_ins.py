# SPDX-License-Identifier: Apache-2.0
"""Policies without a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dreamzero_ros.embodiment.frame import make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.policy.stand_ins import HoldPolicy, ReplayPolicy

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")


def test_hold_asks_every_joint_to_stay() -> None:
    frame = make_example(ROBOT, np.random.default_rng(0))
    chunk = HoldPolicy(ROBOT).infer(frame)
    assert chunk.stamp_ns == frame.stamp_ns and chunk.joints == ROBOT.command_joints
    assert chunk.targets.shape == (ROBOT.horizon, 8)
    np.testing.assert_array_equal(chunk.targets, np.tile(frame.positions, (ROBOT.horizon, 1)))


def write_run(path: Path, **changes: object) -> Path:
    tables = np.random.default_rng(0).random((2, ROBOT.horizon, 8))
    run = {
        "joints": ROBOT.command_joints,
        "chunks": [{"targets": table.tolist()} for table in tables],
    } | changes
    path.write_text(json.dumps(run))
    return path


def test_replay_gives_the_chunks_of_a_run_in_order_and_then_says_so(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.json")
    recorded = [chunk["targets"] for chunk in json.loads(path.read_text())["chunks"]]
    policy = ReplayPolicy.of_run(ROBOT, path)
    frame = make_example(ROBOT, np.random.default_rng(0))
    for targets in recorded:
        np.testing.assert_array_equal(policy.infer(frame).targets, targets)
    with pytest.raises(ValueError, match="holds 2 chunks"):
        policy.infer(frame)
    policy.reset()
    np.testing.assert_array_equal(policy.infer(frame).targets, recorded[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joints": ["a"]}, r"expected joints \('panda_joint1'"),
        ({"chunks": []}, "no chunks"),
        ({"chunks": [{}]}, "targets"),
    ],
)
def test_a_recording_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ReplayPolicy.of_run(ROBOT, write_run(tmp_path / "run.json", **changes))


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.json.*No such file"):
        ReplayPolicy.of_run(ROBOT, tmp_path / "nothing.json")
