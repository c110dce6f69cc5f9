# SPDX-License-Identifier: Apache-2.0
"""How far the end effectors would be from where they were: by the robot description in the bag."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from dreamzero_ros.embodiment.reader import EmbodimentError
from dreamzero_ros.embodiment.urdf import read_urdf
from dreamzero_ros.evaluation.episode import Episode, Floats
from dreamzero_ros.kinematics.chain import Chain, KinematicsError


@dataclass(frozen=True, kw_only=True)
class _Joint:
    """A joint of a robot description."""

    name: str
    moves: bool
    parent: str
    child: str


def end_effector_sums(episode: Episode, predictions: Floats) -> dict[str, Floats]:
    """Sums of the errors of all end effectors, in position [mm] and rotation [deg].

    Args:
        episode: With a robot description.
        predictions: (P, K, A, J) targets, as of the policy and of baselines.

    Returns:
        (P, 2) by metric: sum and count.

    Raises:
        ImportError: Pinocchio is not installed; the text says how to install it.
        KinematicsError: The robot description cannot be used, or moves none of the joints.
    """
    chains = [Chain(episode.urdf, tip, base) for base, tip in arms(episode)]
    names = ("ee_position_mm", "ee_rotation_deg")
    sums = np.zeros((len(names), len(predictions), 2))
    recorded = episode.calls.recorded
    for chain in chains:
        wanted = [episode.joints.index(joint) for joint in chain.joints]
        known = np.isfinite(recorded[..., wanted]).all(axis=-1)
        truth = chain.poses(episode.joints, recorded[known])
        for row, predicted in enumerate(predictions):
            told = np.isfinite(predicted[known][:, wanted]).all(axis=-1)
            poses = chain.poses(episode.joints, predicted[known][told])
            for total, errors in zip(sums[:, row], _errors(poses, truth[told]), strict=True):
                total += errors.sum(), errors.size
    return dict(zip(names, sums, strict=True))


def arms(episode: Episode) -> list[tuple[str, str]]:
    """Base and tip of every arm.

    The tip is the link that carries a gripper, or else the joint that has no other of the commanded ones
    behind it; the base is as far up as all joints that move are commanded.

    Raises:
        KinematicsError: The text is no URDF, or none of the joints is in it.
    """
    above = _joints(episode.urdf)
    by_name = {joint.name: joint for joint in above.values()}
    commanded = [name for name in episode.joints if name in by_name and name not in episode.grippers]
    if not commanded:
        raise KinematicsError(f"robot_description: expected one of {', '.join(episode.joints)}, got none")
    inner = {
        joint.name for name in commanded for joint in _upwards(above, by_name[name].parent) if joint.moves
    }
    tips = {name: name for name in commanded if name not in inner}
    for gripper in episode.grippers:
        link = by_name[gripper].parent if gripper in by_name else ""
        carrier = next((joint.name for joint in _upwards(above, link) if joint.name in tips), None)
        if carrier:
            tips[carrier] = link
    return [(_base(above, by_name[last], commanded), tip) for last, tip in tips.items()]


def _base(above: dict[str, _Joint], last: _Joint, commanded: list[str]) -> str:
    base = last.parent
    for joint in _upwards(above, base):
        if joint.moves and joint.name not in commanded:
            break
        base = joint.parent
    return base


def _joints(urdf: str) -> dict[str, _Joint]:
    """By the link that they move."""
    try:
        found = read_urdf(urdf).findall("joint")
    except EmbodimentError as error:
        raise KinematicsError(str(error)) from error
    joints = [
        _Joint(
            name=joint.get("name", ""),
            moves=joint.get("type") != "fixed",
            parent=_link(joint, "parent"),
            child=_link(joint, "child"),
        )
        for joint in found
    ]
    return {joint.child: joint for joint in joints}


def _link(joint: ElementTree.Element, end: str) -> str:
    element = joint.find(end)
    return "" if element is None else element.get("link", "")


def _upwards(above: dict[str, _Joint], link: str) -> Iterator[_Joint]:
    """The joints from a link to the root; a loop ends it."""
    seen = set()
    while link in above and link not in seen:
        seen.add(link)
        yield above[link]
        link = above[link].parent


def _errors(poses: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Distances [mm] and angles [deg] between (N, 4, 4) poses."""
    position_mm = 1000 * np.linalg.norm(poses[:, :3, 3] - truth[:, :3, 3], axis=-1)
    between = np.swapaxes(truth[:, :3, :3], -1, -2) @ poses[:, :3, :3]
    if not len(between):
        return position_mm, position_mm
    return position_mm, np.degrees(Rotation.from_matrix(between).magnitude())
