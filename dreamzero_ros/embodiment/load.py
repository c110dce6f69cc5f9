# SPDX-License-Identifier: Apache-2.0
"""Robot file -> `Embodiment`: a fully valid one, or one error that says what to change."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast, get_args

from dreamzero_ros.embodiment import prompts
from dreamzero_ros.embodiment.canvas import Canvas, Cell, first_overlap
from dreamzero_ros.embodiment.reader import (
    EmbodimentError,
    Reader,
    apply_parameters,
    nearest,
    read_yaml,
)
from dreamzero_ros.embodiment.schema import (
    ActionField,
    ActionKind,
    Camera,
    Controller,
    ControllerType,
    Embodiment,
    Fit,
    JointLimits,
    NormalisationMode,
    PointMapping,
    RobotUnit,
    StateField,
    VelocityTaper,
)

__all__ = ["EmbodimentError", "embodiment_files", "load"]

ROBOT_UNITS = get_args(RobotUnit)
JOINT_UNITS = (*ROBOT_UNITS, "deg", "mm")
VELOCITY_UNITS = ("m/s", "rad/s")
FROM_CHECKPOINT = "checkpoint"
SUFFIXES = (".yaml", ".yml")
"""What the names of robot files end in, in small letters or capitals."""
IMAGES_PER_CALL = (1, *range(4, 13))
"""How many images of a camera the model's video encoder can take in one call."""

_TOPIC = re.compile(r"(~/|/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*")
_TOKEN = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def load(
    source: str | Path, parameters: Mapping[str, str] | None = None, folder: Path | None = None
) -> Embodiment:
    """Reads a robot file.

    Args:
        source: Path of a ``.yaml`` or ``.yml`` file, or the name of one in `folder`.
        parameters: Values for the file's parameters; the others keep their default.
        folder: Where names are looked up; None looks where this package keeps its robot files.

    Raises:
        EmbodimentError: The file cannot be used; the text names file, key, expected and got.
    """
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES:
        path = _file_of(str(source), folder)
    document = apply_parameters(str(path), read_yaml(path), parameters or {})
    return _embodiment(Reader(str(path), "", document, _keys(Embodiment)), path)


def embodiment_files(folder: Path | None = None) -> list[Path]:
    """The robot files in a folder, by name; None means those that come with this package."""
    return sorted(file for file in (folder or _shipped_folder()).iterdir() if file.suffix.lower() in SUFFIXES)


def _file_of(name: str, folder: Path | None) -> Path:
    """The robot file of a name."""
    files = embodiment_files(folder)
    found = [file for file in files if file.stem == name]
    if not found:
        if Path(name).is_file():
            raise EmbodimentError(
                name, "name", f"a file that ends in {' or '.join(SUFFIXES)}", name, "rename it"
            )
        raise EmbodimentError(
            name, "name", "a robot file", repr(name), nearest(name, [file.stem for file in files])
        )
    if len(found) > 1:
        both = " and ".join(map(str, found))
        raise EmbodimentError(name, "name", "one robot file of this name", both, "name one with its suffix")
    return found[0]


def _shipped_folder() -> Path:
    """``config/embodiments`` of the source tree, or of the share folder of the installation."""
    for root in Path(__file__).resolve().parents:
        for folder in (root / "config", root / "share" / "dreamzero_ros" / "config"):
            if (folder / "embodiments").is_dir():
                return folder / "embodiments"
    raise EmbodimentError(
        __file__, "folder", "config/embodiments above this file", "none", "install the package again"
    )


def _keys(schema: type) -> tuple[str, ...]:
    """A mapping in the file has the keys of the value that it becomes."""
    return tuple(field.name for field in dataclasses.fields(schema))


def _embodiment(top: Reader, path: Path) -> Embodiment:
    rate_hz = top.number("control_rate_hz", above=0)
    canvas = Canvas(*(top.child("canvas", Canvas._fields).integer(key, 1) for key in Canvas._fields))
    cameras = _cameras(top, canvas)
    tag = _tag(top, len(cameras))
    limits = _limits(top)
    state = _state(top, limits)
    action = _action(top, state, limits)
    commanded = tuple(joint for field in action for joint in field.joints)
    horizon, execute_steps = _steps(top)
    offsets = _offsets(top)
    mode = top.choice("normalisation", get_args(NormalisationMode)) if top.has("normalisation") else "q99"
    return Embodiment(
        name=_name(top, path),
        tag=tag,
        control_rate_hz=rate_hz,
        horizon=horizon,
        execute_steps=execute_steps,
        image_offsets_steps=offsets,
        image_tolerance_s=_image_tolerance(top, offsets, 1.0 / rate_hz),
        joint_tolerance_s=top.number("joint_tolerance_s", above=0),
        canvas=canvas,
        cameras=cameras,
        state=state,
        action=action,
        controllers=_controllers(top, commanded),
        limits=limits,
        start_pose=_start_pose(top, commanded, limits),
        end_effectors=_end_effectors(top),
        command_period_s=top.number("command_period_s", above=0) if top.has("command_period_s") else None,
        normalisation=cast(NormalisationMode, mode),
        statistics=_statistics_file(top, path),
    )


def _name(top: Reader, path: Path) -> str:
    name = top.text("name")
    if name != path.stem:
        raise top.error("name", f"the name of the file, {path.stem!r}", repr(name))
    return name


def _tag(top: Reader, num_views: int) -> str:
    tag = top.choice("tag", prompts.TEMPLATES)
    if num_views < prompts.TEMPLATES[tag].min_views:
        least = prompts.TEMPLATES[tag].min_views
        raise top.error("cameras", f"at least {least} cameras for tag {tag!r}", num_views)
    return tag


def _steps(top: Reader) -> tuple[int, int]:
    horizon, execute_steps = top.integer("horizon", 1), top.integer("execute_steps", 1)
    if execute_steps > horizon:
        raise top.error("execute_steps", f"at most the horizon, {horizon}", execute_steps)
    return horizon, execute_steps


def _offsets(top: Reader) -> tuple[int, ...]:
    key = "image_offsets_steps"
    offsets = top.integers(key)
    if len(offsets) not in IMAGES_PER_CALL:
        raise top.error(key, "1 offset, or 4 to 12 of them", f"{len(offsets)}: {list(offsets)}")
    if offsets[-1] != 0:
        raise top.error(f"{key}[{len(offsets) - 1}]", "0, the newest image, as the last offset", offsets[-1])
    for index, (earlier, later) in enumerate(pairwise(offsets)):
        if later <= earlier:
            raise top.error(f"{key}[{index + 1}]", f"an offset above {earlier}", later)
    return offsets


def _image_tolerance(top: Reader, offsets: Sequence[int], dt_s: float) -> float:
    """Below half of the smallest distance, so that one image cannot serve two offsets."""
    tolerance_s = top.number("image_tolerance_s", above=0)
    distances_s = [(later - earlier) * dt_s for earlier, later in pairwise(offsets)]
    if distances_s and tolerance_s >= min(distances_s) / 2:
        most = f"less than half of the smallest distance of two offsets, {min(distances_s) / 2:.3f} s"
        raise top.error("image_tolerance_s", most, tolerance_s)
    return tolerance_s


def _cameras(top: Reader, canvas: Canvas) -> tuple[Camera, ...]:
    nodes = top.children("cameras", _keys(Camera))
    cameras = tuple(_camera(node, canvas) for node in nodes)
    for key in ("name", "topic"):
        _require_distinct(nodes, key, [getattr(camera, key) for camera in cameras])
    for node, camera in zip(nodes, cameras, strict=True):
        size, first = (camera.width, camera.height), (cameras[0].width, cameras[0].height)
        if size != first:
            raise node.error(
                "width", f"{first[0]} x {first[1]} as the first camera", f"{size[0]} x {size[1]}"
            )
    overlap = first_overlap([camera.place for camera in cameras])
    if overlap is not None:
        other, index = overlap
        raise nodes[index].error(
            "place", f"cells that camera {cameras[other].name!r} leaves free", cameras[index].place
        )
    return cameras


def _camera(node: Reader, canvas: Canvas) -> Camera:
    topic = node.text("topic")
    if not _TOPIC.fullmatch(topic):
        raise node.error("topic", "a ROS topic name", repr(topic), "letters, digits, _ and single / only")
    place = node.child("place", Cell._fields)
    spans = {key: place.integer(key, 1) for key in ("row_span", "column_span") if place.has(key)}
    cell = Cell(row=place.integer("row", 0), column=place.integer("column", 0), **spans)
    if not cell.inside(canvas):
        raise node.error("place", f"cells inside {canvas.rows} rows and {canvas.columns} columns", cell)
    return Camera(
        name=node.text("name"),
        topic=topic,
        compressed=node.flag("compressed") if node.has("compressed") else False,
        width=node.integer("width", 1),
        height=node.integer("height", 1),
        fit=cast(Fit, node.choice("fit", get_args(Fit))),
        place=cell,
    )


def _limits(top: Reader) -> dict[str, JointLimits]:
    table = top.child("limits")
    limits: dict[str, JointLimits] = {}
    for joint in table.values:
        node = table.child(joint, _keys(JointLimits))
        lower = node.number("lower")
        limits[joint] = JointLimits(
            lower=lower,
            upper=node.number("upper", above=lower),
            velocity=node.number("velocity", above=0),
            acceleration=node.number("acceleration", above=0),
            jerk=node.number("jerk", above=0) if node.has("jerk") else None,
            velocity_taper=_velocity_taper(node) if node.has("velocity_taper") else None,
        )
    return limits


def _velocity_taper(limit: Reader) -> VelocityTaper:
    node = limit.child("velocity_taper", _keys(VelocityTaper))
    offset, gain, lower = node.number("offset"), node.number("gain", above=0), node.number("lower")
    if offset < 0:
        raise node.error("offset", "a number from 0", offset)
    standstill = offset**2 / gain
    upper = node.number("upper", above=lower + 2 * standstill)
    return VelocityTaper(offset=offset, gain=gain, lower=lower, upper=upper)


def _state(top: Reader, limits: Mapping[str, JointLimits]) -> tuple[StateField, ...]:
    nodes = top.children("state", _keys(StateField))
    fields = tuple(_joint_field(node, limits) for node in nodes)
    _require_distinct(nodes, "name", [field.name for field in fields])
    _require_joints_once(nodes, fields)
    unused = set(limits) - {joint for field in fields for joint in field.joints}
    if unused:
        joint = sorted(unused)[0]
        raise top.error(
            f"limits.{joint}", "a joint of the state", repr(joint), nearest(joint, set(limits) - unused)
        )
    return fields


def _action(
    top: Reader, state: Sequence[StateField], limits: Mapping[str, JointLimits]
) -> tuple[ActionField, ...]:
    nodes = top.children("action", _keys(ActionField))
    fields = tuple(_action_field(node, state, limits) for node in nodes)
    _require_distinct(nodes, "name", [field.name for field in fields])
    _require_joints_once(nodes, fields)
    if not any(field.joints for field in fields):
        raise top.error("action", "at least one field with joints", "none")
    known = [joint for field in state for joint in field.joints]
    for node, field in zip(nodes, fields, strict=True):
        for index, joint in enumerate(field.joints):
            if joint not in known:
                expected = "a joint of the state, for a command needs its measured position"
                raise node.error(f"joints[{index}]", expected, repr(joint), nearest(joint, known))
    _require_equal_units(nodes, fields, state)
    return fields


def _require_equal_units(
    nodes: Sequence[Reader], action: Sequence[ActionField], state: Sequence[StateField]
) -> None:
    """One joint has one unit on the robot's side, whoever speaks of it."""
    units = {
        joint: unit for field in state for joint, unit in zip(field.joints, field.robot_units, strict=True)
    }
    for node, field in zip(nodes, action, strict=True):
        for joint, unit in zip(field.joints, field.robot_units, strict=True):
            if unit != units[joint]:
                key = "units" if field.mapping is None else "mapping.robot_unit"
                raise node.error(key, f"{units[joint]} for joint {joint!r}, as in the state", unit)


def _action_field(
    node: Reader, state: Sequence[StateField], limits: Mapping[str, JointLimits]
) -> ActionField:
    kind = node.choice("kind", get_args(ActionKind)) if node.has("kind") else "joints"
    if kind == "base_velocity":
        return _base_velocity(node)
    if node.has("components"):
        raise node.error(
            "components", "this key with kind base_velocity only", "kind joints", "name joints instead"
        )
    base = _joint_field(node, limits)
    relative = node.flag("relative")
    if relative:
        partners = {field.name: field for field in state}
        if base.name not in partners:
            expected = "a state field of the same name, for the action is relative to it"
            raise node.error("name", expected, repr(base.name), nearest(base.name, partners))
        if base.joints != partners[base.name].joints:
            expected = (
                f"the joints of state field {base.name!r} in their order, {list(partners[base.name].joints)}"
            )
            raise node.error("joints", expected, list(base.joints))
    return ActionField(
        name=base.name, joints=base.joints, units=base.units, mapping=base.mapping, relative=relative
    )


def _base_velocity(node: Reader) -> ActionField:
    for key in ("joints", "mapping"):
        if node.has(key):
            raise node.error(key, "no such key with kind base_velocity", "one", "name its components instead")
    if node.flag("relative"):
        raise node.error("relative", "false, for a velocity has no state to add to", True)
    components = node.texts("components")
    return ActionField(
        name=node.text("name"),
        joints=(),
        units=_units(node, len(components), VELOCITY_UNITS),
        relative=False,
        kind="base_velocity",
        components=components,
    )


def _joint_field(node: Reader, limits: Mapping[str, JointLimits]) -> StateField:
    joints = node.texts("joints")
    for index, joint in enumerate(joints):
        if joint not in limits:
            hint = f"add limits.{joint}; {nearest(joint, limits)}" if limits else f"add limits.{joint}"
            raise node.error(f"joints[{index}]", "a joint with limits", repr(joint), hint)
    mapping = _mapping(node, [limits[joint] for joint in joints]) if node.has("mapping") else None
    units = _units(node, len(joints), ROBOT_UNITS if mapping is None else JOINT_UNITS)
    return StateField(name=node.text("name"), joints=joints, units=units, mapping=mapping)


def _units(node: Reader, count: int, options: Sequence[str]) -> tuple[str, ...]:
    """One unit for all values, or a list with one for each."""
    if isinstance(node.value("units", "a unit"), str):
        units = (node.text("units"),) * count
    else:
        units = tuple(str(item) for item in node.items("units"))
    if len(units) != count:
        raise node.error("units", f"one unit, or {count} of them", list(units))
    for unit in units:
        if unit not in options:
            hint = "other units need a mapping" if unit in JOINT_UNITS else nearest(unit, options)
            raise node.error("units", f"one of {', '.join(options)}", repr(unit), hint)
    return units


def _mapping(node: Reader, limits: Sequence[JointLimits]) -> PointMapping:
    table = node.child("mapping")
    robot_unit = cast(RobotUnit, table.choice("robot_unit", ROBOT_UNITS))
    names = tuple(name for name in table.values if name != "robot_unit")
    if len(names) != 2:
        raise node.error("mapping", "robot_unit and two named points, each [robot, model]", list(names))
    points = [table.numbers(name, 2) for name in names]
    for side, key in enumerate(("robot", "model")):
        if points[0][side] == points[1][side]:
            raise node.error("mapping", f"points that differ on the {key} side", points[0][side])
    for name, point in zip(names, points, strict=True):
        for limit in limits:
            if not limit.lower <= point[0] <= limit.upper:
                expected = f"a robot value within the joint's limits {limit.lower:g} to {limit.upper:g}"
                raise table.error(name, expected, point[0], "a point is [robot, model]")
    return PointMapping(
        robot_unit=robot_unit,
        names=(names[0], names[1]),
        robot=(points[0][0], points[1][0]),
        model=(points[0][1], points[1][1]),
    )


def _controllers(top: Reader, commanded: Sequence[str]) -> tuple[Controller, ...]:
    nodes = top.children("controllers", _keys(Controller))
    controllers = tuple(_controller(node) for node in nodes)
    _require_distinct(nodes, "name", [controller.name for controller in controllers])
    _require_joints_once(nodes, controllers)
    taken = [joint for controller in controllers for joint in controller.joints]
    for node, controller in zip(nodes, controllers, strict=True):
        for index, joint in enumerate(controller.joints):
            if joint not in commanded:
                raise node.error(
                    f"joints[{index}]", "a joint of the action", repr(joint), nearest(joint, commanded)
                )
    missing = [joint for joint in commanded if joint not in taken]
    if missing:
        raise top.error("controllers", "a controller for every joint of the action", f"none for {missing}")
    return controllers


def _controller(node: Reader) -> Controller:
    name, joints = node.text("name"), node.texts("joints")
    kind = node.choice("type", get_args(ControllerType))
    if not _TOPIC.fullmatch(name):
        raise node.error("name", "a ROS name", repr(name), "letters, digits, _ and single / only")
    if kind == "gripper_command" and len(joints) != 1:
        raise node.error("joints", "exactly one joint for a gripper_command", list(joints))
    if kind != "gripper_command" and node.has("max_effort"):
        raise node.error("max_effort", "a controller of type gripper_command", f"type {kind}")
    max_effort = node.number("max_effort") if node.has("max_effort") else 0.0
    return Controller(name=name, type=cast(ControllerType, kind), joints=joints, max_effort=max_effort)


def _start_pose(top: Reader, commanded: Sequence[str], limits: Mapping[str, JointLimits]) -> dict[str, float]:
    table = top.child("start_pose", commanded)
    pose = {joint: table.number(joint) for joint in commanded}
    for joint, position in pose.items():
        limit = limits[joint]
        if not limit.lower <= position <= limit.upper:
            raise table.error(
                joint, f"a position within its limits {limit.lower:g} to {limit.upper:g}", position
            )
    return pose


def _end_effectors(top: Reader) -> dict[str, str]:
    if not top.has("end_effectors"):
        return {}
    table = top.child("end_effectors")
    for name in table.values:
        if not _TOKEN.fullmatch(name):
            raise table.error(
                name, "a name of letters, digits and _, for it becomes part of a topic", repr(name)
            )
    return {name: table.text(name) for name in table.values}


def _statistics_file(top: Reader, path: Path) -> Path | None:
    source = top.text("statistics")
    if source == FROM_CHECKPOINT:
        return None
    file = path.parent / source
    if not file.is_file():
        raise top.error("statistics", f"{FROM_CHECKPOINT!r} or a file beside the robot file", repr(source))
    return file


def _require_distinct(nodes: Sequence[Reader], key: str, values: Sequence[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise nodes[index].error(key, "a value of its own", f"{value!r} again")


def _require_joints_once(nodes: Sequence[Reader], owners: Sequence[StateField | Controller]) -> None:
    """No joint in two of them; within one, the reader has seen to it."""
    seen: set[str] = set()
    for node, owner in zip(nodes, owners, strict=True):
        for index, joint in enumerate(owner.joints):
            if joint in seen:
                raise node.error(f"joints[{index}]", "each joint once", f"{joint!r} again")
            seen.add(joint)
