# SPDX-License-Identifier: Apache-2.0
"""Joint limits out of a robot description (URDF), and what they change about a robot file.

The text is that of ``robot_description``: expanded, no xacro. Units of a URDF are rad for revolute and
continuous joints, m for prismatic ones.
"""

from __future__ import annotations

import dataclasses
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

from dreamzero_ros.embodiment.reader import EmbodimentError, nearest
from dreamzero_ros.embodiment.schema import Embodiment, JointLimits, RobotUnit

SOURCE = "robot_description"
"""What errors call the text."""
ROUNDING = 1e-3
"""Bounds that lie closer are one number, rounded twice: no difference worth a word [unit of the bound]."""
NOT_COMPARED = "not compared"
"""How a sentence ends that tells of no difference, only that two units cannot be compared."""

_UNITS: Mapping[str, RobotUnit] = {"revolute": "rad", "continuous": "rad", "prismatic": "m"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DescribedJoint:
    """What a robot description says of one joint that moves along one axis; None where it says nothing."""

    unit: RobotUnit
    """rad for a revolute or continuous joint, m for a prismatic one."""
    lower: float | None = None
    """Lowest position [unit]; None for a continuous joint."""
    upper: float | None = None
    """Highest position [unit]; None for a continuous joint."""
    velocity: float | None = None
    """Highest speed [unit/s]."""
    acceleration: float | None = None
    """Highest acceleration [unit/s^2]."""


def described_joints(urdf: str) -> dict[str, DescribedJoint]:
    """The joints of a robot description that move along one axis, by name.

    A velocity or acceleration of 0 is what exporters write where they know none; it counts as not given.

    Raises:
        EmbodimentError: The text is no URDF, or a limit in it is no number or out of order.
    """
    try:
        robot = ElementTree.fromstring(urdf)
    except ElementTree.ParseError as error:
        raise EmbodimentError(SOURCE, "document", "URDF, an XML text", error) from error
    if robot.tag != "robot":
        raise EmbodimentError(SOURCE, "document", "<robot> as the outermost element", f"<{robot.tag}>")
    return {
        joint.get("name", ""): _described(joint)
        for joint in robot.findall("joint")
        if joint.get("type") in _UNITS
    }


def with_description(embodiment: Embodiment, urdf: str) -> tuple[Embodiment, list[str]]:
    """The same robot with the tighter of both limits for each bound of each joint.

    Joints whose robot unit is a ratio keep the limits of the file, for a description knows rad and m only. A
    start pose that lies outside by rounding alone moves onto the bound.

    Args:
        embodiment: The robot as its file says.
        urdf: Content of ``robot_description``.

    Returns:
        The robot, and one sentence for each difference between file and description.

    Raises:
        EmbodimentError: The text is no URDF; file and description give a joint different units, or ranges
            that do not overlap; or the start pose lies outside the limits of the description.
    """
    described = described_joints(urdf)
    limits, start_pose = dict(embodiment.limits), dict(embodiment.start_pose)
    differences: list[str] = []
    for joint, unit in embodiment.joint_units.items():
        if joint not in described:
            differences.append(
                f"{joint}: {SOURCE} has no joint of this name that moves; {nearest(joint, described)}"
            )
            continue
        if unit == "ratio":
            differences.append(
                f"{joint}: a ratio in the robot file, in {described[joint].unit} in {SOURCE}; {NOT_COMPARED}"
            )
            continue
        limits[joint], found = _tighter(joint, unit, limits[joint], described[joint])
        differences += found
        if joint in start_pose:
            start_pose[joint] = _within(joint, start_pose[joint], limits[joint])
    return dataclasses.replace(embodiment, limits=limits, start_pose=start_pose), differences


def _described(joint: ElementTree.Element) -> DescribedJoint:
    name, kind = joint.get("name", ""), joint.get("type", "")
    limit = joint.find("limit")
    if limit is None:
        return DescribedJoint(unit=_UNITS[kind])
    lower = upper = None
    if kind != "continuous":
        # URDF: a bound that is left out is 0; both left out, like both equal, say nothing
        lower, upper = _number(name, limit, "lower") or 0.0, _number(name, limit, "upper") or 0.0
        if lower > upper:
            raise EmbodimentError(
                SOURCE, f"joint {name}: limit", "lower not above upper", f"{lower:g} and {upper:g}"
            )
        if lower == upper:
            lower = upper = None
    return DescribedJoint(
        unit=_UNITS[kind],
        lower=lower,
        upper=upper,
        velocity=_number(name, limit, "velocity") or None,
        acceleration=_number(name, limit, "acceleration") or None,
    )


def _number(joint: str, limit: ElementTree.Element, key: str) -> float | None:
    text = limit.get(key)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    expected = "a number" if key in ("lower", "upper") else "a number from 0"
    if math.isnan(value) or (key not in ("lower", "upper") and value < 0):
        hint = "expand xacro first" if "${" in text else ""
        raise EmbodimentError(SOURCE, f"joint {joint}: limit {key}", expected, repr(text), hint)
    return value


def _tighter(
    joint: str, unit: RobotUnit, file: JointLimits, described: DescribedJoint
) -> tuple[JointLimits, list[str]]:
    if described.unit != unit:
        raise EmbodimentError(
            SOURCE, f"joint {joint}", f"a joint that moves in {unit}, as in the robot file", described.unit
        )
    tighter, differences = file, []
    for bound, tightest, suffix in _BOUNDS:
        theirs, ours = getattr(described, bound), getattr(file, bound)
        if theirs is None:
            continue
        used = tightest(ours, theirs)
        tighter = dataclasses.replace(tighter, **{bound: used})
        if abs(theirs - ours) > ROUNDING:
            differences.append(
                f"{joint}: {bound} is {ours:g} {unit}{suffix} in the robot file, {theirs:g} in {SOURCE}; "
                f"{used:g} is used"
            )
    if tighter.lower >= tighter.upper:
        raise EmbodimentError(
            SOURCE,
            f"joint {joint}",
            f"a range that overlaps the robot file's {file.lower:g} to {file.upper:g} {unit}",
            f"{described.lower:g} to {described.upper:g} {unit}",
        )
    return tighter, differences


_BOUNDS = (("lower", max, ""), ("upper", min, ""), ("velocity", min, "/s"), ("acceleration", min, "/s^2"))
"""Bound, which of two is the tighter, what its unit has behind that of the position."""


def _within(joint: str, position: float, limit: JointLimits) -> float:
    nearest_inside = min(max(position, limit.lower), limit.upper)
    if abs(nearest_inside - position) > ROUNDING:
        raise EmbodimentError(
            SOURCE,
            f"joint {joint}",
            f"limits around the robot file's start pose, {position:g}",
            f"{limit.lower:g} to {limit.upper:g}",
            "change start_pose in the robot file",
        )
    return nearest_inside
