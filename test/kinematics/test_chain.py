# SPDX-License-Identifier: Apache-2.0
"""Poses of links against poses worked out by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dreamzero_ros.kinematics.chain import Chain, KinematicsError, quaternions

pytestmark = pytest.mark.cpu

PI = np.pi


def link(*names: str) -> str:
    return "".join(f'<link name="{name}"/>' for name in names)


def joint(
    name: str, kind: str, parent: str, child: str, xyz: str = "0 0 0", rpy: str = "0 0 0", axis: str = "0 0 1"
) -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}" rpy="{rpy}"/><axis xyz="{axis}"/>'
        '<limit lower="-3" upper="3" velocity="1" effort="1"/></joint>'
    )


TORSO = (
    '<?xml version="1.0"?><robot name="torso">'
    + link("floor", "column", "chest", "left_arm", "left_hand", "right_arm", "right_hand")
    + joint("lift", "prismatic", "floor", "column", xyz="0 0 0.5")
    + joint("yaw", "continuous", "column", "chest", xyz="0 0 0.2")
    + joint("left", "revolute", "chest", "left_arm", xyz="0 0.3 0", axis="0 1 0")
    + joint("left_grip", "fixed", "left_arm", "left_hand", xyz="0.4 0 0")
    + joint("right", "revolute", "chest", "right_arm", xyz="0 -0.3 0", axis="0 1 0")
    + joint("right_grip", "fixed", "right_arm", "right_hand", xyz="0.4 0 0")
    + "</robot>"
)
"""A column that lifts and turns, with two arms of one joint; 0.7 m high, hands 0.4 m in front at zero."""

BY_HAND = [
    # lift, yaw, left, right -> left hand, right hand
    ((0.0, 0.0, 0.0, 0.0), (0.4, 0.3, 0.7), (0.4, -0.3, 0.7)),
    ((0.1, 0.0, 0.0, 0.0), (0.4, 0.3, 0.8), (0.4, -0.3, 0.8)),
    ((0.0, PI / 2, 0.0, 0.0), (-0.3, 0.4, 0.7), (0.3, 0.4, 0.7)),
    ((0.0, 4 * PI, 0.0, 0.0), (0.4, 0.3, 0.7), (0.4, -0.3, 0.7)),
    ((0.0, 0.0, PI / 2, -PI / 2), (0.0, 0.3, 0.3), (0.0, -0.3, 1.1)),
    ((0.2, PI, PI / 2, 0.0), (0.0, -0.3, 0.5), (-0.4, 0.3, 0.9)),
]


@pytest.fixture(autouse=True)
def pinocchio() -> None:
    pytest.importorskip("pinocchio", reason="pinocchio is not installed: requirements/kinematics.txt")


@pytest.mark.parametrize(("positions", "left", "right"), BY_HAND)
def test_hands_of_a_torso_are_where_they_belong(positions, left, right):
    names = ("lift", "yaw", "left", "right")
    for tip, expected in (("left_hand", left), ("right_hand", right)):
        pose = Chain(TORSO, tip).poses(names, np.array(positions))
        np.testing.assert_allclose(pose[:3, 3], expected, atol=1e-12)
        np.testing.assert_allclose(pose[3], [0, 0, 0, 1])


def test_a_chain_knows_its_ends_and_the_joints_between():
    chain = Chain(TORSO, "left_hand")
    assert (chain.base, chain.tip, chain.joints) == ("floor", "left_hand", ("lift", "yaw", "left"))
    assert Chain(TORSO, "left").tip == "left_arm"
    assert Chain(TORSO, "left_grip", base="yaw").joints == ("left",)
    assert Chain(TORSO, "floor").joints == ()


def test_what_moves_both_ends_does_not_matter_between_them():
    chain = Chain(TORSO, "left_hand", base="right_arm")
    assert chain.joints == ("left", "right")
    pose = chain.poses(("left", "right"), np.array([0.0, PI / 2]))
    np.testing.assert_allclose(pose[:3, 3], [0, 0.6, 0.4], atol=1e-12)


def test_a_whole_chunk_at_once_with_columns_in_any_order():
    chain = Chain(TORSO, "left_hand")
    chunk = np.random.default_rng(0).uniform(-1, 1, (2, 24, 4))
    poses = chain.poses(("gripper", "left", "lift", "yaw"), chunk)
    assert poses.shape == (2, 24, 4, 4)
    for index in np.ndindex(2, 24):
        one = chain.poses(("lift", "yaw", "left"), chunk[index][[2, 3, 1]])
        np.testing.assert_array_equal(poses[index], one)


PANDA_DH = [
    # a [m], d [m], alpha of each joint, as Denavit and Hartenberg with Craig's convention
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -PI / 2),
    (0.0, 0.316, PI / 2),
    (0.0825, 0.0, PI / 2),
    (-0.0825, 0.384, -PI / 2),
    (0.0, 0.0, PI / 2),
    (0.088, 0.0, PI / 2),
    (0.0, 0.107, 0.0),
]
"""Franka's own table of the Panda; the last row is the flange."""


def panda() -> str:
    """The same arm as a description has it: the origin of a joint is Rx(alpha) after x by a, then z by d."""
    text = link(*(f"link{i}" for i in range(9)))
    for i, (a, d, alpha) in enumerate(PANDA_DH):
        xyz = f"{a} {-d * np.sin(alpha)} {d * np.cos(alpha)}"
        kind = "revolute" if i < 7 else "fixed"
        text += joint(f"joint{i + 1}", kind, f"link{i}", f"link{i + 1}", xyz, rpy=f"{alpha} 0 0")
    return f'<robot name="panda">{text}</robot>'


def by_table(angles: np.ndarray) -> np.ndarray:
    """The product of the eight matrices of the table."""
    pose = np.eye(4)
    for (a, d, alpha), theta in zip(PANDA_DH, (*angles, 0.0), strict=True):
        ct, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        pose = pose @ [
            [ct, -s, 0, a],
            [s * ca, ct * ca, -sa, -d * sa],
            [s * sa, ct * sa, ca, d * ca],
            [0, 0, 0, 1],
        ]
    return pose


def test_a_panda_is_as_its_table_says():
    chain, names = Chain(panda(), "link8"), tuple(f"joint{i}" for i in range(1, 8))
    straight = chain.poses(names, np.zeros(7))
    np.testing.assert_allclose(straight[:3, 3], [0.088, 0.0, 0.333 + 0.316 + 0.384 - 0.107], atol=1e-9)
    np.testing.assert_allclose(straight[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-9)
    angles = np.random.default_rng(0).uniform(-2.5, 2.5, (50, 7))
    expected = np.array([by_table(row) for row in angles])
    np.testing.assert_allclose(chain.poses(names, angles), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("axis", "angle", "expected"),
    [
        ((0, 0, 1), 0.0, (0, 0, 0, 1)),
        ((0, 0, 1), PI / 2, (0, 0, 0.5**0.5, 0.5**0.5)),
        ((1, 0, 0), PI, (1, 0, 0, 0)),
        ((0, 1, 0), PI, (0, 1, 0, 0)),
        ((0, 1, 0), -PI / 3, (0, -0.5, 0, 0.75**0.5)),
        ((0, 0, 1), 1.5 * PI, (0, 0, -(0.5**0.5), 0.5**0.5)),
    ],
)
def test_quaternions_worked_out_by_hand(axis, angle, expected):
    np.testing.assert_allclose(quaternions(turned(np.array(axis, float), angle)), expected, atol=1e-12)


def turned(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix by Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@given(arrays(np.float64, (5, 3), elements=st.floats(-1, 1)), st.floats(-PI, PI))
def test_quaternions_are_the_rotation_they_came_from(axes, angle):
    axes = axes + np.array([0, 0, 2])
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    found = quaternions(np.array([turned(axis, angle) for axis in axes]))
    expected = np.concatenate([np.sin(angle / 2) * axes, np.full((5, 1), np.cos(angle / 2))], axis=-1)
    assert found.shape == (5, 4)
    np.testing.assert_allclose(np.abs((found * expected).sum(axis=-1)), 1, atol=1e-9)
    assert (found[:, 3] >= 0).all()


MISTAKES = [
    ("<robot", "left_hand", None, "robot_description: expected URDF, expanded, got '<robot'"),
    (
        TORSO,
        "left_hant",
        None,
        r"tip: expected a link or joint .* got 'left_hant'; did you mean 'left_hand'\?",
    ),
    (TORSO, "left_hand", "ceiling", "base: expected a link or joint .* got 'ceiling'; links: floor, column"),
]


@pytest.mark.parametrize(("urdf", "tip", "base", "words"), MISTAKES)
def test_a_chain_that_is_not_there_is_refused(urdf, tip, base, words):
    with pytest.raises(KinematicsError, match=words):
        Chain(urdf, tip, base)


def test_positions_that_do_not_fit_are_refused():
    chain = Chain(TORSO, "left_hand")
    with pytest.raises(KinematicsError, match=r"floor to left_hand: expected positions of \['yaw'\] too"):
        chain.poses(("lift", "left"), np.zeros(2))
    with pytest.raises(KinematicsError, match=r"expected 3 columns, got shape \(24, 2\)"):
        chain.poses(("lift", "yaw", "left"), np.zeros((24, 2)))


def test_without_pinocchio_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    with pytest.raises(ImportError, match=r"ros-.*-pinocchio.*requirements/kinematics\.txt.*called pin:"):
        Chain(TORSO, "left_hand")
