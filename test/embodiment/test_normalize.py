# SPDX-License-Identifier: Apache-2.0
"""Scaling of state and action against the reference release, and both ways against each other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dreamzero_ros.embodiment import layout
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.metadata import EmbodimentError, load_statistics, range_doubts
from dreamzero_ros.embodiment.normalize import (
    BOUNDS,
    decode_actions,
    denormalise,
    denormalise_actions,
    normalise,
    normalise_actions,
    normalise_state,
    stand_in_statistics,
)
from dreamzero_ros.embodiment.schema import Embodiment, NormalisationMode

pytestmark = pytest.mark.cpu

TIGHT = {"rtol": 1e-6, "atol": 1e-6}


@pytest.mark.parametrize("mode", BOUNDS)
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_flat_statistics_of_the_reference(goldens: Path, mode: str, precision: str):
    """Constant dimensions and values out of range are in the vectors."""
    vectors = np.load(goldens / "norm.npz")
    dtype = np.float32 if precision == "f32" else np.float64
    statistics = {name: vectors[f"flat.{name}"] for name in ("q01", "q99", "min", "max", "mean", "std")}
    forward = normalise(vectors["flat.x"].astype(dtype), statistics, mode)
    inverse = denormalise(vectors["flat.z"].astype(dtype), statistics, mode)
    assert forward.dtype == inverse.dtype == dtype
    np.testing.assert_allclose(forward, vectors[f"flat.{mode}.{precision}.forward"], **TIGHT)
    np.testing.assert_allclose(inverse, vectors[f"flat.{mode}.{precision}.inverse"], **TIGHT)


def test_statistics_per_step_of_the_reference(goldens: Path):
    vectors = np.load(goldens / "norm.npz")
    statistics = {"q01": vectors["horizon.q01"], "q99": vectors["horizon.q99"]}
    cases = {
        name.split(".")[1] for name in vectors.files if name.startswith("horizon.") and name.endswith(".x")
    }
    assert cases
    for case in cases:
        x, z = vectors[f"horizon.{case}.x"], vectors[f"horizon.{case}.z"]
        np.testing.assert_allclose(normalise(x, statistics), vectors[f"horizon.{case}.forward"], **TIGHT)
        np.testing.assert_allclose(denormalise(z, statistics), vectors[f"horizon.{case}.inverse"], **TIGHT)


def test_steps_that_do_not_repeat_evenly_are_refused():
    statistics = {"q01": np.zeros((8, 1)), "q99": np.ones((8, 1))}
    with pytest.raises(ValueError, match="a multiple of 8 steps, got 12"):
        normalise(np.zeros((12, 1)), statistics)


def reference_robot(tag: str) -> Embodiment:
    """The robot whose field names a reference file uses."""
    return load({"oxe_droid": "droid_franka", "yam": "yam", "agibot": "agibot_g1"}[tag])


def metadata(vectors: np.lib.npyio.NpzFile, tag: str) -> dict[str, object]:
    """The statistics of a reference file as a checkpoint holds them."""
    both: dict[str, dict[str, dict[str, object]]] = {"state": {}, "action": {}}
    for name in vectors.files:
        if name.startswith("stats."):
            _, side, field, statistic = name.split(".")
            both[side].setdefault(field, {})[statistic] = vectors[name].tolist()
    return {tag: {"statistics": both, "embodiment_tag": tag}}


def test_observations_and_actions_of_the_reference(goldens: Path):
    for name, description in json.loads((goldens / "io.json").read_text()).items():
        robot = reference_robot(name)
        vectors = np.load(goldens / f"io_{name}.npz")
        statistics = load_statistics(robot, metadata(vectors, robot.tag))
        assert [field.name for field in robot.state] == description["state_order"]
        assert [field.name for field in robot.action] == description["action_order"]
        assert [field.name for field in robot.action if field.relative] == description["relative_action_keys"]
        for case in description["cases"]:
            state = {field.name: vectors[f"{case}.in.state.{field.name}"][-1] for field in robot.state}
            positions = layout.state_from_model(robot, state)
            expected = vectors[f"{case}.state"][0]
            np.testing.assert_allclose(
                normalise_state(robot, statistics, positions, expected.shape[-1]), expected, **TIGHT
            )
            targets = decode_actions(robot, statistics, vectors[f"{case}.normalized_action"][0], positions)
            for field, values in layout.actions_to_model(robot, targets).items():
                want = vectors[f"{case}.out.action.{field}"]
                np.testing.assert_allclose(values, want.reshape(len(want), -1), rtol=1e-5, atol=1e-5)


def test_relative_targets_are_added_to_the_unnormalised_state_of_the_frame():
    robot = load("droid_franka")
    statistics = stand_in_statistics(robot)
    positions = np.array([robot.start_pose[joint] for joint in robot.state_joints])
    targets = decode_actions(robot, statistics, np.zeros((24, 32), np.float32), positions)
    np.testing.assert_allclose(targets[:, :7], np.tile(positions[:7], (24, 1)), atol=1e-12)
    np.testing.assert_allclose(targets[:, 7], 0.02)


def test_the_lift_moves_in_metres_and_grippers_differ_between_state_and_action():
    robot = load("agibot_g1", {"gripper_data": "agibot_world"})
    gripper, lift = "idx41_gripper_l_outer_joint1", "idx01_body_joint1"
    statistics = stand_in_statistics(robot)
    positions = np.array([robot.start_pose[joint] for joint in robot.state_joints])
    positions[robot.state_joints.index(gripper)] = 0.7854 / 4
    assert layout.state_to_model(robot, positions)["left_effector_position"] == pytest.approx([30.0])
    fields = denormalise_actions(robot, statistics, np.zeros((24, 32)), positions)
    assert fields["robot_velocity"].shape == (24, 2)
    assert fields["left_effector_position"] == pytest.approx(np.full((24, 1), 30.0))
    fields["left_effector_position"][:] = 1.0
    targets = layout.actions_from_model(robot, fields)
    assert targets[:, robot.command_joints.index(gripper)] == pytest.approx(np.zeros(24))
    assert targets[:, robot.command_joints.index(lift)] == pytest.approx(np.full(24, 0.42))


@pytest.mark.parametrize("name", ["agibot_g1", "yam", "droid_franka"])
def test_way_in_and_way_out_of_actions_agree(name: str):
    """Within the range of the statistics nothing is clamped."""
    rng = np.random.default_rng(0)
    robot = load(name)
    statistics = stand_in_statistics(robot)
    positions = np.array([robot.start_pose[joint] for joint in robot.state_joints])
    total = sum(field.size for field in robot.action)
    normalised = np.zeros((24, 32))
    normalised[:, :total] = rng.uniform(-1, 1, (24, total))
    fields = denormalise_actions(robot, statistics, normalised, positions)
    np.testing.assert_allclose(
        normalise_actions(robot, statistics, fields, positions, 32), normalised, atol=1e-9
    )


def test_every_mode_reads_its_own_statistics():
    robot = dataclasses.replace(load("droid_franka"), normalisation="min_max")
    entry = {"min": [0.0], "max": [2.0]}
    seven = {"min": [0.0] * 7, "max": [2.0] * 7}
    fields = {"joint_position": seven, "gripper_position": entry}
    statistics = load_statistics(robot, {"oxe_droid": {"statistics": {"state": fields, "action": fields}}})
    assert normalise_state(robot, statistics, np.array([1.0] * 7 + [0.04]))[0, :8] == pytest.approx(
        [0] * 7 + [-1]
    )


def droid_metadata() -> dict[str, dict[str, dict[str, dict[str, dict[str, list[float]]]]]]:
    seven = {"q01": [0.0] * 7, "q99": [1.0] * 7}
    one = {"q01": [0.0], "q99": [1.0]}
    fields = {"joint_position": seven, "gripper_position": one}
    return {"oxe_droid": {"statistics": {"state": fields, "action": dict(fields)}}}


def test_statistics_come_from_a_file(tmp_path: Path):
    file = tmp_path / "metadata.json"
    file.write_text(json.dumps(droid_metadata()))
    assert load_statistics(load("droid_franka"), file).state["joint_position"]["q99"].tolist() == [1.0] * 7
    file.write_text("{")
    with pytest.raises(EmbodimentError, match="expected JSON"):
        load_statistics(load("droid_franka"), file)
    with pytest.raises(EmbodimentError, match="No such file"):
        load_statistics(load("droid_franka"), tmp_path / "none.json")


def test_a_checkpoint_of_another_robot_is_refused():
    found = {"agibot": droid_metadata()["oxe_droid"]}
    with pytest.raises(
        EmbodimentError, match=r"oxe_droid: expected statistics of robot 'droid_franka'.*agibot"
    ):
        load_statistics(load("droid_franka"), found)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.0] * 6, "7 finite numbers"),
        ([float("nan")] * 7, "7 finite numbers"),
        (["a"] * 7, "7 finite numbers"),
        ([], "at least one item"),
        (None, "expected a list, got nothing"),
    ],
)
def test_statistics_that_do_not_fit_are_named(values: list[float] | None, words: str):
    found = droid_metadata()
    entry = found["oxe_droid"]["statistics"]["state"]["joint_position"]
    if values is None:
        del entry["q99"]
    else:
        entry["q99"] = values
    with pytest.raises(EmbodimentError, match=rf"oxe_droid\.statistics\.state\.joint_position\..*{words}"):
        load_statistics(load("droid_franka"), found)


def test_a_missing_field_is_named_with_the_nearest():
    found = droid_metadata()
    action = found["oxe_droid"]["statistics"]["action"]
    action["joint_positions"] = action.pop("joint_position")
    with pytest.raises(EmbodimentError, match=r"action\.joint_position: .*did you mean 'joint_positions'"):
        load_statistics(load("droid_franka"), found)


@pytest.mark.parametrize("mode", BOUNDS)
@pytest.mark.parametrize("name", ["agibot_g1", "yam", "droid_franka"])
def test_data_that_uses_the_limits_leaves_no_doubt(name: str, mode: NormalisationMode):
    robot = dataclasses.replace(load(name), normalisation=mode)
    assert range_doubts(robot, stand_in_statistics(robot)) == []


@pytest.mark.parametrize("trained", ["ratio_closed_1", "raw_closed_120", "agibot_world"])
@pytest.mark.parametrize("chosen", ["ratio_closed_1", "raw_closed_120", "agibot_world"])
def test_a_gripper_convention_of_another_unit_is_doubted(trained: str, chosen: str):
    data, robot = (load("agibot_g1", {"gripper_data": choice}) for choice in (trained, chosen))
    doubts = range_doubts(robot, stand_in_statistics(data))
    same_unit = data.state[2].units == robot.state[2].units
    assert len(doubts) == (0 if same_unit else 2)
    assert all("_effector_position, idx" in doubt for doubt in doubts)


def test_joints_in_another_order_are_doubted_with_both_ranges():
    """Public clients disagree on whether pitch or lift comes first."""
    robot = load("agibot_g1")
    statistics = stand_in_statistics(robot)
    swapped = {key: values[..., ::-1] for key, values in statistics.state["waist_position"].items()}
    per_step = {key: np.stack([0.1 * values, values]) for key, values in swapped.items()}
    state = {**statistics.state, "waist_position": per_step}
    assert range_doubts(robot, dataclasses.replace(statistics, state=state)) == [
        "waist_position, idx01_body_joint1: the training data runs from 0 to 1.571, "
        "the limits of the robot file from 0 to 0.55 m"
    ]
