# SPDX-License-Identifier: Apache-2.0
"""Robot files, checkpoints and statistics that cannot be used, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoints import adapt

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.normalize import FieldStatistics, stand_in_statistics
from dreamzero_ros.engine.weights import random_engine, save_checkpoint
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.files import check_checkpoint, check_robot
from dreamzero_ros.ros.check.rows import Result

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
CPU = {"device": "cpu", "dtype": "float32"}


def listed(fields: dict[str, FieldStatistics], scale: float) -> dict[str, object]:
    return {
        name: {key: (scale * values).tolist() for key, values in entry.items()}
        for name, entry in fields.items()
    }


def write_checkpoint(folder: Path, tag: str = ROBOT.tag, scale: float = 1.0) -> Path:
    """A tiny checkpoint whose training data span the joint limits, times a scale."""
    known = stand_in_statistics(ROBOT)
    statistics = {"state": listed(known.state, scale), "action": listed(known.action, 1.0)}
    engine = random_engine("tiny", "cpu", torch.float32)
    save_checkpoint(replace(engine, metadata={tag: {"statistics": statistics}}), folder)
    return folder


def results(parameters: PolicyParameters) -> dict[str, Result]:
    return {row.what: row.result for row in check_checkpoint(parameters, ROBOT)[1]}


def test_a_robot_is_described_or_its_nearest_name_given() -> None:
    robot, rows = check_robot(PolicyParameters(embodiment_parameters=["", "arm=fr3"]))
    assert robot is not None and "arm=fr3" in rows[0].finding and "8 joints" in rows[0].finding
    robot, rows = check_robot(PolicyParameters(embodiment="droid_frank"))
    assert robot is None and rows[0].result is Result.FAIL and "droid_franka" in rows[0].fix


def test_a_whole_checkpoint_passes(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    engine, rows = check_checkpoint(PolicyParameters(checkpoint=str(folder), **CPU), ROBOT)
    assert [row.result for row in rows] == [Result.PASS, Result.PASS], rows
    assert engine is not None and all(p.is_meta for p in engine.transformer.parameters())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    (folder / name).unlink()
    engine, rows = check_checkpoint(PolicyParameters(checkpoint=str(folder), **CPU), ROBOT)
    assert engine is None and rows[0].result is Result.FAIL and name in rows[0].finding and rows[0].fix


def test_statistics_of_another_robot_fail(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", tag="yam")
    assert results(PolicyParameters(checkpoint=str(folder), **CPU))["statistics"] is Result.FAIL


def test_statistics_in_another_unit_are_doubted(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", scale=57.3)
    assert results(PolicyParameters(checkpoint=str(folder), **CPU))["statistics"] is Result.WARN


def test_a_base_that_was_not_trained_for_the_robot_is_doubted(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    statistics = tmp_path / "statistics.json"
    (folder / "experiment_cfg" / "metadata.json").rename(statistics)
    robot = replace(ROBOT, statistics=statistics)
    row = check_checkpoint(PolicyParameters(checkpoint=str(folder), **CPU), robot)[1][1]
    assert row.result is Result.WARN and "A base for post-training" in row.finding and row.fix


def test_adapters_on_a_base_that_nothing_names_are_doubted(tmp_path: Path) -> None:
    base, folder = (write_checkpoint(tmp_path / name) for name in ("base", "adapters"))
    adapt(folder)
    parameters = PolicyParameters(checkpoint=str(folder), base_checkpoint=str(base), **CPU)
    row = check_checkpoint(parameters, ROBOT)[1][0]
    assert row.result is Result.WARN and "pretrained_model_path is missing" in row.finding and row.fix


@pytest.mark.parametrize(
    ("parameters", "what", "result"),
    [
        (PolicyParameters(random_weights="tiny"), "checkpoint", Result.PASS),
        (PolicyParameters(random_weights="tinny"), "checkpoint", Result.FAIL),
        (PolicyParameters(random_weights="tiny", checkpoint="/a"), "checkpoint", Result.FAIL),
        (PolicyParameters(), "checkpoint", Result.FAIL),
        (PolicyParameters(checkpoint="somebody/no-such-checkpoint"), "checkpoint", Result.FAIL),
        (PolicyParameters(policy="hold"), "policy", Result.PASS),
        (PolicyParameters(policy="replay", recording="/no/run.json"), "policy", Result.FAIL),
    ],
)
def test_other_ways_to_name_a_policy(parameters: PolicyParameters, what: str, result: Result) -> None:
    assert results(parameters)[what] is result
