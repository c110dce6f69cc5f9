# SPDX-License-Identifier: Apache-2.0
"""What a robot is, as data: the frozen values that a robot file is read into.

Two sides meet here. *Robot units* are those of ``sensor_msgs/JointState`` and of the controllers: rad for a
revolute joint, m for a prismatic one, ratio where a driver reports a share of the travel. *Model units* are
those of the data the checkpoint was trained on, before normalisation. They are equal unless a field has a
`PointMapping`.

Objects made by `load` are fully valid; nothing checks them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.canvas import Canvas, Cell

Fit = Literal["letterbox", "crop", "stretch"]
ActionKind = Literal["joints", "base_velocity"]
ControllerType = Literal["joint_trajectory", "gripper_command"]
NormalisationMode = Literal["q99", "min_max", "mean_std"]
RobotUnit = Literal["rad", "m", "ratio"]


@dataclass(frozen=True, kw_only=True)
class PointMapping:
    """The straight line through two named points, between robot units and model units."""

    robot_unit: RobotUnit
    """Unit of the joints on the robot's side."""
    names: tuple[str, str]
    """What the two points are called, for example ("open", "closed")."""
    robot: tuple[float, float]
    """Both points in robot units; they differ."""
    model: tuple[float, float]
    """Both points in model units; they differ."""

    def to_model(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Robot units to model units; any shape, not clamped."""
        return _along(values, self.robot, self.model)

    def to_robot(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Model units to robot units; any shape, not clamped."""
        return _along(values, self.model, self.robot)


def _along(
    values: NDArray[np.float64], source: tuple[float, float], target: tuple[float, float]
) -> NDArray[np.float64]:
    fraction = (values - source[0]) / (source[1] - source[0])
    return target[0] + fraction * (target[1] - target[0])


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One view, in the order in which the model was trained."""

    name: str
    """Name of the view in the checkpoint, for example ``wrist_image_left``."""
    topic: str
    """Default ROS topic; relative names follow the node's namespace."""
    compressed: bool = False
    """True when the topic carries CompressedImage instead of Image."""
    width: int
    """Width that the model's preprocessing expects [pixels]."""
    height: int
    """Height that the model's preprocessing expects [pixels]."""
    fit: Fit
    """How an image of another size is brought to width x height: ``letterbox`` keeps all of it and adds black
    bars, ``crop`` fills the size and cuts the rest from the middle, ``stretch`` ignores the aspect ratio."""
    place: Cell
    """Where the view lies on the canvas."""


@dataclass(frozen=True, kw_only=True)
class StateField:
    """One named group of the state vector, in model order."""

    name: str
    """Name of the group in the checkpoint's statistics."""
    joints: tuple[str, ...]
    """Joints by their names in ``sensor_msgs/JointState``, in model order."""
    units: tuple[str, ...]
    """Model unit of each value: rad, m, mm, deg, ratio; m/s, rad/s for velocities of the base."""
    mapping: PointMapping | None = None
    """Robot units to model units, for every value of the group; None where they are equal."""

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.units)

    @property
    def robot_units(self) -> tuple[RobotUnit, ...]:
        """Unit of each joint on the robot's side."""
        if self.mapping is None:
            return tuple(cast(RobotUnit, unit) for unit in self.units[: len(self.joints)])
        return (self.mapping.robot_unit,) * len(self.joints)

    @property
    def is_gripper(self) -> bool:
        """Whether it opens and closes: its mapping has the points ``open`` and ``closed``."""
        return self.mapping is not None and set(self.mapping.names) == {"open", "closed"}


@dataclass(frozen=True, kw_only=True)
class ActionField(StateField):
    """One named group of the action vector, in model order."""

    relative: bool
    """True when the model predicts the difference to the same-named state group at `t_k`."""
    kind: ActionKind = "joints"
    """``joints``: positions of `joints`. ``base_velocity``: velocities of the base, without joints."""
    components: tuple[str, ...] = ()
    """Names of the values of a base velocity, for example ("linear_x", "angular_z"); empty for joints."""


@dataclass(frozen=True, kw_only=True)
class Controller:
    """One ros2_control controller that takes a share of the command joints."""

    name: str
    """Name of the controller, relative to the node's namespace."""
    type: ControllerType
    """``joint_trajectory``: trajectory_msgs/JointTrajectory or its action. ``gripper_command``: the
    control_msgs GripperCommand action, for exactly one joint."""
    joints: tuple[str, ...]
    """The command joints it moves."""
    max_effort: float = 0.0
    """Largest effort of a gripper_command controller [N or Nm]; what 0 means is the driver's to say."""


@dataclass(frozen=True, kw_only=True)
class VelocityTaper:
    """How the velocity limit of a joint shrinks towards the ends of its range, as the FR3 demands it.

    Moving up, a joint at q may be as fast as max(0, -offset + sqrt(gain (upper - q))); moving down,
    as fast as max(0, -offset + sqrt(gain (q - lower))); in both cases never faster than its velocity limit.
    Source: libfranka, ``computeUpperLimitsJointVelocity`` and ``computeLowerLimitsJointVelocity``.
    """

    offset: float
    """Subtracted from the root [rad/s]."""
    gain: float
    """Twice the deceleration that is left for stopping [rad/s^2]."""
    lower: float
    """Position at which the lower root is zero [rad]."""
    upper: float
    """Position at which the upper root is zero [rad]."""


@dataclass(frozen=True, kw_only=True)
class JointLimits:
    """What a joint may be asked to do, in robot units."""

    lower: float
    """Lowest position [rad or m]."""
    upper: float
    """Highest position [rad or m]."""
    velocity: float
    """Highest speed in either direction [rad/s or m/s]."""
    acceleration: float
    """Highest acceleration in either direction [rad/s^2 or m/s^2]."""
    jerk: float | None = None
    """Highest jerk in either direction [rad/s^3 or m/s^3]; None where it is not known. The planner of motions
    does not keep it."""
    velocity_taper: VelocityTaper | None = None
    """How `velocity` shrinks near the ends; None where it does not."""


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """One robot as the model and the controllers know it."""

    name: str
    """Name of the robot file."""
    tag: str
    """Modality tag in the checkpoint, for example ``oxe_droid``; selects the prompt and the statistics."""
    control_rate_hz: float
    """Rate of the actions of a chunk [1/s]."""
    horizon: int
    """Actions in a chunk [control steps]."""
    execute_steps: int
    """Most actions of a chunk that are executed before the next one [control steps]; at most `horizon`."""
    image_offsets_steps: tuple[int, ...]
    """Times of the images that a later call sees, before `t_k` [control steps]; increasing, the last is 0."""
    image_tolerance_s: float
    """Furthest that an image may lie from the time at which it is wanted [s]."""
    joint_tolerance_s: float
    """Furthest that the nearest joint state may lie from `t_k` [s]."""
    canvas: Canvas
    """Grid onto which the views are stitched."""
    cameras: tuple[Camera, ...]
    """Views, in model order."""
    state: tuple[StateField, ...]
    """Groups of the state vector, in model order."""
    action: tuple[ActionField, ...]
    """Groups of the action vector, in model order."""
    controllers: tuple[Controller, ...]
    """Together they take every command joint exactly once."""
    limits: Mapping[str, JointLimits]
    """By joint name; every joint of the robot file is there."""
    start_pose: Mapping[str, float]
    """Position of every command joint from which a run begins [rad or m], by joint name."""
    end_effectors: Mapping[str, str] = field(default_factory=dict)
    """By any name: the link of the robot description whose way is shown, or the joint that moves it."""
    command_period_s: float | None = None
    """The robot wants a command at least this often [s], once it had one; None: it holds by itself."""
    normalisation: NormalisationMode = "q99"
    """Which statistics scale state and action to [-1, 1]."""
    statistics: Path | None = None
    """File with the normalisation statistics; None takes those of the checkpoint."""

    @property
    def dt_s(self) -> float:
        """Control step [s]."""
        return 1.0 / self.control_rate_hz

    @property
    def state_joints(self) -> tuple[str, ...]:
        """Joints whose positions are read, in model order; the order of `Frame.positions`."""
        return tuple(joint for field in self.state for joint in field.joints)

    @property
    def command_joints(self) -> tuple[str, ...]:
        """Joints that are commanded, in model order; the columns of `ActionChunk.targets`."""
        return tuple(joint for field in self.action for joint in field.joints)

    @property
    def joint_units(self) -> dict[str, RobotUnit]:
        """Unit of every joint on the robot's side, by joint name."""
        return {
            joint: unit
            for field in self.state
            for joint, unit in zip(field.joints, field.robot_units, strict=True)
        }

    @property
    def gripper_joints(self) -> tuple[str, ...]:
        """The command joints that open and close, in model order."""
        return tuple(joint for field in self.action if field.is_gripper for joint in field.joints)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Place of every camera on the canvas, in model order."""
        return tuple(camera.place for camera in self.cameras)
