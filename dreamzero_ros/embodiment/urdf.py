# SPDX-License-Identifier: Apache-2.0
"""Robot descriptions (URDF): the joints that move, and everything in the text that limits them.

The text is that of ``robot_description``: expanded, no xacro. Units of a URDF are rad for revolute and
continuous joints, m for prismatic ones.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

from dreamzero_ros.embodiment.reader import EmbodimentError
from dreamzero_ros.embodiment.schema import RobotUnit

SOURCE = "robot_description"
"""What errors call the text."""
TIGHTER: Mapping[str, Callable[[float, float], float]] = {
    "lower": max,
    "upper": min,
    "velocity": min,
    "acceleration": min,
    "jerk": min,
}
"""The bounds of a joint, as fields of `JointLimits`, and which of two values is the tighter."""

_UNITS: Mapping[str, RobotUnit] = {"revolute": "rad", "continuous": "rad", "prismatic": "m"}
_RATES = {
    "velocity": "velocity",
    "acceleration": "acceleration",
    "deceleration": "acceleration",
    "jerk": "jerk",
}
"""Attributes of <limit> that hold for both directions, and the bound that each is."""
_NO_CONTENT = re.compile(r"<\?xml\s.*?\?>|<!DOCTYPE[^<>\[]*>", re.DOTALL)
_LONE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9A-Fa-f]+);)")


@dataclass(frozen=True)
class Bound:
    """One limit of a joint, and which element of the description says so."""

    value: float
    source: str = ""
    """For people: the element, where it is another than <limit>."""


@dataclass(frozen=True, kw_only=True)
class DescribedJoint:
    """What a robot description says of one joint that moves along one axis."""

    unit: RobotUnit
    """rad for a revolute or continuous joint, m for a prismatic one."""
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    """The tightest value of each bound of `TIGHTER` that the description gives; the others are missing."""
    follows: str = ""
    """The joint whose position this one copies (mimic); empty for a joint of its own."""


def read_urdf(text: str) -> ElementTree.Element:
    """The <robot> element of a robot description, read as leniently as ROS reads it.

    urdfdom, on which robot_state_publisher and MoveIt stand, reads with tinyxml: it takes blank lines, a
    byte-order mark or a comment before the XML declaration, whatever encoding that names, prefixes without a
    namespace, namespaces without a meaning, lone ampersands, further elements beside <robot>, and ends at a
    null character. Documents that define entities are refused, by urdfdom as here.

    Raises:
        EmbodimentError: The text is no XML even so, or has no <robot>.
    """
    content = _LONE_AMPERSAND.sub("&amp;", _NO_CONTENT.sub("", text.partition("\0")[0]))
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(f"<document>{content}</document>".encode(errors="replace"), True)
    except expat.ExpatError as error:
        raise EmbodimentError(SOURCE, "document", "URDF, an XML text", error) from error
    document = builder.close()
    robot = document.find("robot")
    if robot is None:
        found = ", ".join(f"<{element.tag}>" for element in document) or repr(text[:60])
        raise EmbodimentError(SOURCE, "document", "<robot> as the outermost element", found)
    return robot


def described_joints(urdf: str) -> dict[str, DescribedJoint]:
    """The joints of a robot description that move along one axis, by name.

    Their bounds are the tightest of <limit>, the soft limits of <safety_controller>, and the ``min`` and
    ``max`` of command interfaces in <ros2_control>, unless these are disabled there. A range whose ends are
    equal, and a velocity, acceleration or jerk of 0, are what exporters write where they know none; they
    count as not given.

    Raises:
        EmbodimentError: The text is no URDF, or a limit in it is no number or out of order.
    """
    robot = read_urdf(urdf)
    interfaces: dict[str, list[ElementTree.Element]] = defaultdict(list)
    for joint in robot.iterfind("ros2_control/joint"):
        if _enabled(joint):
            interfaces[joint.get("name", "")] += filter(_enabled, joint.findall("command_interface"))
    return {
        name: _described(joint, interfaces.get(name, ()))
        for joint in robot.findall("joint")
        if joint.get("type") in _UNITS
        for name in [joint.get("name", "")]
    }


Told = tuple[str, Bound]
"""A bound by its name in `TIGHTER`."""


def _described(joint: ElementTree.Element, interfaces: Sequence[ElementTree.Element]) -> DescribedJoint:
    name, mimic = joint.get("name", ""), joint.find("mimic")
    bounds: dict[str, Bound] = {}
    for key, bound in (*_limit(joint), *_soft_limit(joint), *_command_limits(name, interfaces)):
        known = bounds.get(key, bound)
        bounds[key] = known if TIGHTER[key](known.value, bound.value) == known.value else bound
    if {"lower", "upper"} <= bounds.keys():
        _require_order(name, "limits together", bounds["lower"].value, bounds["upper"].value)
    return DescribedJoint(
        unit=_UNITS[joint.get("type", "")],
        bounds=bounds,
        follows="" if mimic is None else mimic.get("joint", ""),
    )


def _limit(joint: ElementTree.Element) -> Iterator[Told]:
    limit, name = joint.find("limit"), joint.get("name", "")
    if limit is None:
        return
    if joint.get("type") != "continuous":
        yield from _range(name, "limit", limit, ("lower", "upper"), "")
    for key, bound in _RATES.items():
        value = _number(name, f"limit {key}", limit.get(key), least=0)
        if value:
            yield bound, Bound(value)


def _soft_limit(joint: ElementTree.Element) -> Iterator[Told]:
    safety = joint.find("safety_controller")
    if safety is not None:
        keys = "soft_lower_limit", "soft_upper_limit"
        source = "soft limit of its safety_controller"
        yield from _range(joint.get("name", ""), "safety_controller", safety, keys, source)


def _command_limits(name: str, interfaces: Sequence[ElementTree.Element]) -> Iterator[Told]:
    for interface in interfaces:
        kind = interface.get("name", "")
        told = {param.get("name"): param.text for param in interface.findall("param")}
        where = f"ros2_control {kind}"
        low, high = (_number(name, f"{where} {key}", told.get(key)) for key in ("min", "max"))
        source = f"{where} command"
        if low is not None and high is not None:
            _require_order(name, where, low, high)
        if kind == "position" and low != high:
            ends = {"lower": low, "upper": high}
            yield from ((key, Bound(value, source)) for key, value in ends.items() if value is not None)
        elif kind in _RATES:
            yield from ((kind, Bound(abs(value), source)) for value in (low, high) if value)


def _range(
    name: str, where: str, element: ElementTree.Element, keys: tuple[str, str], source: str
) -> Iterator[Told]:
    """Both ends of a range; URDF: an end that is left out is 0."""
    lower, upper = (_number(name, f"{where} {key}", element.get(key)) or 0.0 for key in keys)
    _require_order(name, where, lower, upper)
    if lower != upper:
        yield "lower", Bound(lower, source)
        yield "upper", Bound(upper, source)


def _require_order(name: str, where: str, lower: float, upper: float) -> None:
    if lower > upper:
        raise EmbodimentError(
            SOURCE, f"joint {name}: {where}", "lower not above upper", f"{lower:g} and {upper:g}"
        )


def _enabled(element: ElementTree.Element) -> bool:
    """Whether ros2_control keeps the limits of a joint or of one of its interfaces."""
    limits = element.find("limits")
    return limits is None or limits.get("enable", "true").lower() != "false"


def _number(joint: str, where: str, text: str | None, least: float = -math.inf) -> float | None:
    if text is None:
        return None
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or value < least:
        expected = "a number" if least == -math.inf else f"a number from {least:g}"
        hint = "expand xacro first" if "${" in text else ""
        raise EmbodimentError(SOURCE, f"joint {joint}: {where}", expected, repr(text), hint)
    return value
