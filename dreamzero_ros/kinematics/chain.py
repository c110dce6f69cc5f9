# SPDX-License-Identifier: Apache-2.0
"""Forward kinematics of a robot description, computed by pinocchio.

Pinocchio is an optional dependency and loaded when the first chain is made.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MISSING = (
    "forward kinematics needs pinocchio: apt install ros-$ROS_DISTRO-pinocchio; without a ROS distribution "
    "pip install -r requirements/kinematics.txt (the package is called pin: pinocchio is another one)"
)


class KinematicsError(ValueError):
    """A robot description cannot be used, or joints that a chain needs are missing."""


class Chain:
    """The way from one link of a robot to another.

    Not to be used from two threads at once.

    Args:
        urdf: Content of ``robot_description``: URDF, expanded.
        tip: Name of the link whose pose is wanted, or of the joint that moves it.
        base: Link, or joint that moves it, in which poses are expressed; None means the root of the robot.

    Raises:
        ImportError: Pinocchio is not installed; the text says how to install it.
        KinematicsError: The text is no URDF, or has no such link or joint.
    """

    def __init__(self, urdf: str, tip: str, base: str | None = None) -> None:
        self._pinocchio = _load_pinocchio()
        try:
            self._model = self._pinocchio.buildModelFromXML(urdf)
        except ValueError as error:
            raise KinematicsError(f"robot_description: expected URDF, expanded, got {urdf[:60]!r}") from error
        self._data = self._model.createData()
        links = _links(self._pinocchio, self._model)
        self._tip = _find(self._model, links, tip, "tip")
        self._base = min(links.values()) if base is None else _find(self._model, links, base, "base")
        self.tip: str = self._model.frames[self._tip].name
        """Link whose pose is computed."""
        self.base: str = self._model.frames[self._base].name
        """Link in which it is expressed."""
        self._between = self._joints_between()
        self.joints: tuple[str, ...] = tuple(self._model.names[joint] for joint in self._between)
        """The joints that move the tip against the base, in the order of the robot description."""

    def poses(self, joints: Sequence[str], positions: Floats) -> Floats:
        """Poses of the tip in the base.

        Args:
            joints: Names of the columns of `positions`, in any order; those not of `self.joints` are ignored.
            positions: (..., J) joint positions [rad or m].

        Returns:
            (..., 4, 4) homogeneous matrices [m].

        Raises:
            KinematicsError: A joint of the chain is missing, or names and columns differ in number.
        """
        if positions.shape[-1] != len(joints):
            raise KinematicsError(f"positions: expected {len(joints)} columns, got shape {positions.shape}")
        missing = [joint for joint in self.joints if joint not in joints]
        if missing:
            raise KinematicsError(
                f"joints from {self.base} to {self.tip}: expected positions of {missing} too"
            )
        columns = [joints.index(joint) for joint in self.joints]
        rows = positions.reshape(-1, len(joints))[:, columns]
        return np.array([self._pose(row) for row in rows]).reshape(*positions.shape[:-1], 4, 4)

    def _pose(self, positions: Floats) -> Floats:
        configuration = self._pinocchio.neutral(self._model)
        for joint, position in zip(self._between, positions, strict=True):
            at = self._model.idx_qs[joint]
            if self._model.nqs[joint] == 2:  # a joint without end is held as cosine and sine
                configuration[at : at + 2] = np.cos(position), np.sin(position)
            else:
                configuration[at] = position
        self._pinocchio.forwardKinematics(self._model, self._data, configuration)
        base, tip = (
            self._pinocchio.updateFramePlacement(self._model, self._data, frame)
            for frame in (self._base, self._tip)
        )
        pose: Floats = base.actInv(tip).homogeneous
        return pose

    def _joints_between(self) -> tuple[int, ...]:
        """Joints that move only one of the two ends: what moves both cancels out."""
        base, tip = (
            set(self._model.supports[self._model.frames[frame].parentJoint])
            for frame in (self._base, self._tip)
        )
        return tuple(sorted(base ^ tip))


def quaternions(poses: Floats) -> Floats:
    """(..., 4, 4) or (..., 3, 3) -> (..., 4) unit quaternions x, y, z, w with w not negative.

    Source: I. Bar-Itzhack, New method for extracting the quaternion from a rotation matrix, 2000; of the four
    rows of 4 q q^T, each a multiple of q, the longest is taken.
    """
    xx, xy, xz = poses[..., 0, 0], poses[..., 0, 1], poses[..., 0, 2]
    yx, yy, yz = poses[..., 1, 0], poses[..., 1, 1], poses[..., 1, 2]
    zx, zy, zz = poses[..., 2, 0], poses[..., 2, 1], poses[..., 2, 2]
    rows = [
        [1 + xx - yy - zz, xy + yx, xz + zx, zy - yz],
        [xy + yx, 1 - xx + yy - zz, yz + zy, xz - zx],
        [xz + zx, yz + zy, 1 - xx - yy + zz, yx - xy],
        [zy - yz, xz - zx, yx - xy, 1 + xx + yy + zz],
    ]
    outer = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)  # (..., 4, 4)
    lengths = np.linalg.norm(outer, axis=-1)
    longest = lengths.argmax(axis=-1)[..., None]
    unit = np.take_along_axis(outer, longest[..., None], axis=-2)[..., 0, :]
    unit = unit / np.take_along_axis(lengths, longest, axis=-1)
    signed: Floats = np.where(unit[..., 3:] < 0, -unit, unit)
    return signed


def _load_pinocchio() -> Any:
    try:
        import pinocchio
    except ModuleNotFoundError as error:
        raise ImportError(MISSING) from error
    return pinocchio


def _links(pinocchio: Any, model: Any) -> dict[str, int]:
    """Links by name, each with its number among pinocchio's frames; the root comes first."""
    return {
        frame.name: number
        for number, frame in enumerate(model.frames)
        if frame.type == pinocchio.FrameType.BODY
    }


def _find(model: Any, links: dict[str, int], name: str, what: str) -> int:
    """Number of a link, given by its name or by that of the joint above it."""
    moved_by = {model.frames[model.frames[number].parentFrame].name: number for number in links.values()}
    if name not in links | moved_by:
        close = difflib.get_close_matches(name, links | moved_by, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"links: {', '.join(links)}"
        raise KinematicsError(f"{what}: expected a link or joint of robot_description, got {name!r}; {hint}")
    return (moved_by | links)[name]
