# SPDX-License-Identifier: Apache-2.0
"""What a robot description changes about a robot file: for each bound of each joint the tighter one holds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dreamzero_ros.embodiment.reader import EmbodimentError, nearest
from dreamzero_ros.embodiment.schema import Embodiment, JointLimits, RobotUnit
from dreamzero_ros.embodiment.urdf import SOURCE, TIGHTER, DescribedJoint, described_joints

ROUNDING = 1e-3
"""Bounds that lie closer are one number, rounded twice: no difference worth a word [unit of the bound]."""

_PER_TIME = {"velocity": "/s", "acceleration": "/s^2", "jerk": "/s^3"}
"""What the unit of a bound has behind that of the position."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A robot file beside a robot description."""

    robot: Embodiment
    """The robot of the file with the tighter of both limits for each bound of each joint."""
    differences: tuple[str, ...]
    """One sentence for each difference."""
    not_compared: tuple[str, ...]
    """One sentence for each joint whose limits cannot be compared, for its units differ in kind."""
    compared: Mapping[str, int]
    """How many joints have a bound in both, by bound: lower, upper, velocity, acceleration, jerk."""


def with_description(embodiment: Embodiment, urdf: str) -> Comparison:
    """Compares a robot file with a robot description.

    Joints whose robot unit is a ratio keep the limits of the file, for a description knows rad and m only. A
    start pose that lies outside by rounding alone moves onto the bound.

    Args:
        embodiment: The robot as its file says.
        urdf: Content of ``robot_description``.

    Raises:
        EmbodimentError: The text is no URDF; file and description give a joint different units, or ranges
            that do not overlap; or the start pose lies outside the limits of the description.
    """
    described = described_joints(urdf)
    limits, start_pose = dict(embodiment.limits), dict(embodiment.start_pose)
    differences: list[str] = []
    not_compared: list[str] = []
    compared: Counter[str] = Counter()
    for joint, unit in embodiment.joint_units.items():
        if joint not in described:
            differences.append(
                f"{joint}: {SOURCE} has no joint of this name that moves; {nearest(joint, described)}"
            )
            continue
        theirs = described[joint]
        if theirs.follows and joint in embodiment.command_joints:
            differences.append(
                f"{joint}: commanded by the robot file, but in {SOURCE} it follows {theirs.follows} (mimic); "
                f"command that joint"
            )
        if unit == "ratio":
            not_compared.append(f"{joint}: a ratio in the robot file, in {theirs.unit} in {SOURCE}")
            continue
        differences += _differences(joint, unit, limits[joint], theirs)
        compared.update(key for key in theirs.bounds if getattr(limits[joint], key) is not None)
        limits[joint] = _tighter(joint, unit, limits[joint], theirs)
        if joint in start_pose:
            start_pose[joint] = _within(joint, start_pose[joint], limits[joint])
    return Comparison(
        robot=dataclasses.replace(embodiment, limits=limits, start_pose=start_pose),
        differences=tuple(differences),
        not_compared=tuple(not_compared),
        compared={key: compared[key] for key in TIGHTER},
    )


def _differences(joint: str, unit: RobotUnit, file: JointLimits, described: DescribedJoint) -> list[str]:
    differences = []
    for key, bound in described.bounds.items():
        ours = getattr(file, key)
        slower = key in _PER_TIME and ours is not None and ours < bound.value
        if ours is not None and not slower and abs(bound.value - ours) > ROUNDING:
            source = f"{SOURCE} ({bound.source})" if bound.source else SOURCE
            differences.append(
                f"{joint}: {key} is {ours:g} {unit}{_PER_TIME.get(key, '')} in the robot file, "
                f"{bound.value:g} in {source}; {TIGHTER[key](ours, bound.value):g} is used"
            )
    return differences


def _tighter(joint: str, unit: RobotUnit, file: JointLimits, described: DescribedJoint) -> JointLimits:
    if described.unit != unit:
        raise EmbodimentError(
            SOURCE, f"joint {joint}", f"a joint that moves in {unit}, as in the robot file", described.unit
        )
    values: dict[str, Any] = {key: bound.value for key, bound in described.bounds.items()}
    for key, theirs in values.items():
        ours = getattr(file, key)
        values[key] = theirs if ours is None else TIGHTER[key](ours, theirs)
    tighter = dataclasses.replace(file, **values)
    if tighter.lower >= tighter.upper:
        raise EmbodimentError(
            SOURCE,
            f"joint {joint}",
            f"a range that overlaps the robot file's {file.lower:g} to {file.upper:g} {unit}",
            " to ".join(f"{described.bounds[key].value:g}" for key in ("lower", "upper") if key in values)
            + f" {unit}",
        )
    return tighter


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
