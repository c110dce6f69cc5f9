# SPDX-License-Identifier: Apache-2.0
"""A robot description (URDF) of the simulated robot.

The arms of `kinematics`, with the joints and limits of a robot file. Like the simulation itself it is no
particular robot: names and limits are right, shapes are simple.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dreamzero_ros.embodiment.schema import Embodiment, PointMapping
from dreamzero_ros.sim.kinematics import LINKS_M, NEUTRAL_RAD, SHOULDER_M, Arm, arms_of, joint_axes

Vector = tuple[float, float, float]
Visuals = Sequence[Element]

ROOT = "base_link"
"""Root of the description, on the table top."""
MAST_M = (-0.25, 0.15, 0.10)
"""Where the first mast stands behind the arms, distance of the masts, length of a link [m]."""
PALM_M, FINGERS_M = 0.03, 0.05
"""Height of the middle of the palm, and of the finger joints, over the flange [m]."""
FINGER_GAP_M = 0.008
"""Middle of a closed finger from the middle of the hand [m]."""

ORIGIN: Vector = (0.0, 0.0, 0.0)
AXES: tuple[Vector, ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
ACROSS: Vector = (math.pi / 2, 0.0, 0.0)
"""Turns the axis of a cylinder from z to y."""
COLOURS = {"light": "0.93 0.93 0.91 1", "dark": "0.29 0.31 0.34 1", "accent": "0.86 0.52 0.20 1"}
BOUNDS = ("lower", "upper", "velocity", "acceleration")
KINDS = {"rad": "revolute", "m": "prismatic", "ratio": "revolute"}
"""Type of a joint by its robot unit; a description has no ratio, and a finger may turn by up to 1 rad."""


def describe(embodiment: Embodiment) -> str:
    """The text of ``robot_description``: every joint of the robot file, with its limits.

    Arms stand and move as in `kinematics.Arm.pose`. Joints that belong to no arm form masts behind the arms,
    one for each group of the state. An end effector of the robot file that is no joint is the flange of the
    arm with its number, or of the last arm.
    """
    robot = _Description(embodiment)
    arms = arms_of(embodiment)
    flanges = [robot.arm(arm) for arm in arms]
    for tip, number in {tip: number for number, tip in enumerate(embodiment.end_effectors.values())}.items():
        if flanges and tip not in embodiment.limits:
            robot.fixed(tip, flanges[min(number, len(flanges) - 1)])
    taken = {joint for arm in arms for joint in (*arm.joints, *(arm.gripper[:1] if arm.gripper else ()))}
    rest = [[joint for joint in field.joints if joint not in taken] for field in embodiment.state]
    for number, joints in enumerate(filter(None, rest)):
        robot.mast(joints, (MAST_M[0], number * MAST_M[1], 0.0))
    return robot.text()


class _Description:
    """A URDF that grows: a root, and links that each come with the joint above them."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._limits, self._units = embodiment.limits, embodiment.joint_units
        self._robot = Element("robot", name=embodiment.name)
        for name, rgba in COLOURS.items():
            SubElement(SubElement(self._robot, "material", name=name), "color", rgba=rgba)
        SubElement(self._robot, "link", name=ROOT)

    def text(self) -> str:
        indent(self._robot)
        return '<?xml version="1.0"?>\n' + tostring(self._robot, encoding="unicode")

    def fixed(
        self, link: str, parent: str, visuals: Visuals = (), xyz: Vector = ORIGIN, rpy: Vector = ORIGIN
    ) -> None:
        """A link that stands still on its parent."""
        self._joint(f"{link}_joint", "fixed", parent, link, xyz, rpy)
        SubElement(self._robot, "link", name=link).extend(visuals)

    def moving(
        self,
        joint: str,
        parent: str,
        visuals: Visuals,
        axis: Vector,
        xyz: Vector = ORIGIN,
        rpy: Vector = ORIGIN,
        mimic: str = "",
    ) -> str:
        """A link that a joint of the robot file moves, or a joint like the one that it mimics; its name."""
        link, known = f"{joint}_link", mimic or joint
        made = self._joint(joint, KINDS[self._units[known]], parent, link, xyz, rpy)
        SubElement(made, "axis", xyz=_words(axis))
        limits = {bound: repr(getattr(self._limits[known], bound)) for bound in BOUNDS}
        SubElement(made, "limit", limits | {"effort": "0"})
        if mimic:
            SubElement(made, "mimic", joint=mimic)
        SubElement(self._robot, "link", name=link).extend(visuals)
        return link

    def _joint(self, name: str, kind: str, parent: str, child: str, xyz: Vector, rpy: Vector) -> Element:
        joint = SubElement(self._robot, "joint", name=name, type=kind)
        SubElement(joint, "parent", link=parent)
        SubElement(joint, "child", link=child)
        SubElement(joint, "origin", xyz=_words(xyz), rpy=_words(rpy))
        return joint

    def arm(self, arm: Arm) -> str:
        """Builds an arm; returns its flange."""
        parent, reach = f"{arm.joints[0]}_column", SHOULDER_M
        self.fixed(parent, ROOT, [_cylinder("light", 0.07, SHOULDER_M, (0.0, 0.0, SHOULDER_M / 2))], arm.base)
        pitches = iter(zip(NEUTRAL_RAD, LINKS_M, strict=True))
        for joint, axis, start in zip(arm.joints, joint_axes(len(arm.joints)), arm.start_rad, strict=True):
            neutral, length = next(pitches) if axis == 1 else (0.0, 0.0)
            visuals = _limb(length) if axis == 1 else ()
            turn = _turn(axis, neutral - start)
            parent = self.moving(joint, parent, visuals, AXES[axis], (0.0, 0.0, reach), turn)
            reach = length
        for number, (neutral, length) in enumerate(
            pitches
        ):  # an arm with fewer joints keeps its wrist straight
            link = f"{arm.joints[-1]}_straight{number}"
            self.fixed(link, parent, _limb(length), (0.0, 0.0, reach), _turn(1, neutral))
            parent, reach = link, length
        flange = f"{arm.joints[-1]}_flange"
        palm = _box("accent", (0.044, 0.15, 0.044), (0.0, 0.0, PALM_M))
        self.fixed(flange, parent, [palm], (0.0, 0.0, reach))
        if arm.gripper is not None:
            self._fingers(flange, *arm.gripper)
        return flange

    def _fingers(self, flange: str, joint: str, mapping: PointMapping) -> None:
        """Two fingers that slide or swing apart as the joint goes from closed to open."""
        at = dict(zip(mapping.names, mapping.robot, strict=True))
        closed, opens = at["closed"], math.copysign(1.0, at["open"] - at["closed"])
        for side, name, mimic in ((1.0, joint, ""), (-1.0, f"{joint}_mimic", joint)):
            visuals = [_box("dark", (0.018, 0.014, 0.068), (0.0, 0.0, 0.034))]
            middle, outwards = side * FINGER_GAP_M, side * opens
            if mapping.robot_unit == "m":
                at_zero = (0.0, middle - outwards * closed, FINGERS_M)
                self.moving(name, flange, visuals, (0.0, outwards, 0.0), at_zero, mimic=mimic)
            else:
                turned = _turn(0, outwards * closed)
                joint_at = (0.0, middle, FINGERS_M)
                self.moving(name, flange, visuals, (-outwards, 0.0, 0.0), joint_at, turned, mimic)

    def mast(self, joints: Sequence[str], foot: Vector) -> None:
        """Joints on top of each other: those that turn nod, those that slide go up."""
        parent, at = ROOT, foot
        for joint in joints:
            axis = AXES[2] if self._units[joint] == "m" else AXES[1]
            visuals = [_box("light", (0.05, 0.05, 0.9 * MAST_M[2]), (0.0, 0.0, MAST_M[2] / 2))]
            parent, at = self.moving(joint, parent, visuals, axis, at), (0.0, 0.0, MAST_M[2])


def _turn(axis: int, angle: float) -> Vector:
    """Roll, pitch, yaw of a rotation about one axis."""
    return (angle * (axis == 0), angle * (axis == 1), angle * (axis == 2))


def _limb(length: float) -> Visuals:
    """A joint that pitches, and the limb up to the next one."""
    along = _cylinder("light", 0.05, length, (0.0, 0.0, length / 2))
    return [_cylinder("dark", 0.058, 0.11, ORIGIN, ACROSS), along]


def _cylinder(colour: str, radius: float, length: float, xyz: Vector, rpy: Vector = ORIGIN) -> Element:
    return _visual(colour, xyz, rpy, Element("cylinder", radius=str(radius), length=str(length)))


def _box(colour: str, size: Vector, xyz: Vector) -> Element:
    return _visual(colour, xyz, ORIGIN, Element("box", size=_words(size)))


def _visual(colour: str, xyz: Vector, rpy: Vector, shape: Element) -> Element:
    visual = Element("visual")
    SubElement(visual, "origin", xyz=_words(xyz), rpy=_words(rpy))
    SubElement(visual, "geometry").append(shape)
    SubElement(visual, "material", name=colour)
    return visual


def _words(numbers: Vector) -> str:
    return " ".join(repr(float(number)) for number in numbers)
