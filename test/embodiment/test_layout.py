# SPDX-License-Identifier: Apache-2.0
"""Positions <-> groups <-> vectors: every way in has its way out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dreamzero_ros.embodiment import layout
from dreamzero_ros.embodiment.load import embodiment_files, load
from dreamzero_ros.embodiment.schema import PointMapping

pytestmark = pytest.mark.cpu

ROBOTS = [load(path) for path in embodiment_files()]
NUMBERS = st.floats(-4, 4, width=32)


@given(st.data())
@pytest.mark.parametrize("robot", ROBOTS, ids=[robot.name for robot in ROBOTS])
def test_positions_and_targets_come_back(robot, data):
    rows = data.draw(st.integers(1, 4))
    positions = data.draw(arrays(np.float64, (rows, len(robot.state_joints)), elements=NUMBERS))
    targets = data.draw(arrays(np.float64, (rows, len(robot.command_joints)), elements=NUMBERS))
    state = layout.state_to_model(robot, positions)
    assert [values.shape for values in state.values()] == [(rows, field.size) for field in robot.state]
    np.testing.assert_allclose(layout.state_from_model(robot, state), positions, atol=1e-9)
    actions = layout.actions_to_model(robot, targets)
    np.testing.assert_allclose(layout.actions_from_model(robot, actions), targets, atol=1e-9)
    vector = layout.flatten(robot.state, state, 64)
    assert vector.shape == (rows, 64)
    assert not vector[:, len(robot.state_joints) :].any()
    for name, values in layout.split(robot.state, vector).items():
        np.testing.assert_array_equal(values, state[name])


def test_vectors_of_the_wrong_width_are_refused():
    robot = load("droid_franka")
    with pytest.raises(ValueError, match="vectors of 4 values, the robot has 8"):
        layout.flatten(robot.state, layout.state_to_model(robot, np.zeros(8)), 4)
    with pytest.raises(ValueError, match="8 values, the model's vector only 7"):
        layout.split(robot.state, np.zeros(7))


def test_command_positions_leave_out_what_is_only_read():
    robot = load("example")
    positions = np.arange(len(robot.state_joints), dtype=np.float64)
    found = layout.command_positions(robot, np.stack([positions, positions + 10]))
    names = dict(zip(robot.state_joints, positions, strict=True))
    assert found[0].tolist() == [names[joint] for joint in robot.command_joints]
    assert found[1].tolist() == [names[joint] + 10 for joint in robot.command_joints]
    assert "head_joint" not in robot.command_joints


GRIPPERS = [
    # robot, parameters, state and action: model values of the open and of the closed gripper
    ("droid_franka", {}, (0, 1), (0, 1)),
    ("yam", {}, (1, 0), (1, 0)),
    ("yam", {"gripper_data": "closed_1"}, (0, 1), (0, 1)),
    ("agibot_g1", {}, (0, 1), (0, 1)),
    ("agibot_g1", {"gripper_data": "ratio_open_1"}, (1, 0), (1, 0)),
    ("agibot_g1", {"gripper_data": "raw_closed_120"}, (0, 120), (0, 120)),
    ("agibot_g1", {"gripper_data": "agibot_world"}, (120, 0), (0, 1)),
]


@pytest.mark.parametrize(("name", "parameters", "state", "action"), GRIPPERS)
def test_grippers_open_and_close_both_ways(name, parameters, state, action):
    robot = load(name, parameters)
    ends = {"droid_franka": (0.04, 0.0), "yam": (1.0, 0.0), "agibot_g1": (0.7854, 0.0)}[name]
    assert all(robot.limits[joint].upper == ends[0] for joint in robot.gripper_joints)
    for fields, expected, columns, way_in, way_out in (
        (robot.state, state, robot.state_joints, layout.state_to_model, layout.state_from_model),
        (robot.action, action, robot.command_joints, layout.actions_to_model, layout.actions_from_model),
    ):
        positions = np.zeros((3, len(columns)))
        grippers = [columns.index(joint) for joint in robot.gripper_joints]
        positions[:, grippers] = np.array([ends[0], sum(ends) / 2, ends[1]])[:, None]
        model = way_in(robot, positions)
        found = [model[field.name][:, 0] for field in fields if field.is_gripper]
        assert len(found) == len(grippers)
        for values in found:
            np.testing.assert_allclose(values, [expected[0], sum(expected) / 2, expected[1]], atol=1e-12)
        np.testing.assert_allclose(way_out(robot, model), positions, atol=1e-12)


@given(
    robot=st.tuples(NUMBERS, NUMBERS).filter(lambda ends: abs(ends[0] - ends[1]) > 1e-3),
    model=st.tuples(NUMBERS, NUMBERS).filter(lambda ends: abs(ends[0] - ends[1]) > 1e-3),
    share=st.floats(0, 1),
)
def test_a_gripper_mapping_goes_both_ways(robot, model, share):
    mapping = PointMapping(robot_unit="m", names=("open", "closed"), robot=robot, model=model)
    np.testing.assert_allclose(mapping.to_model(np.array(robot)), model, atol=1e-9)
    np.testing.assert_allclose(mapping.to_robot(np.array(model)), robot, atol=1e-9)
    between = np.array([robot[0] + share * (robot[1] - robot[0])])
    np.testing.assert_allclose(mapping.to_robot(mapping.to_model(between)), between, atol=1e-8)
