# SPDX-License-Identifier: Apache-2.0
"""Recordings of an arm whose motion is known at every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import bags
import numpy as np
from bags import NS, START_NS, Message, T

from dreamzero_ros.embodiment.schema import Embodiment

CAMERA_RATE_HZ, JOINT_RATE_HZ, COMMAND_RATE_HZ = 15, 60, 30
DELAY_NS = 2_000_000
"""From a stamp to its log time [ns]; the streams follow one another by `APART_NS`."""
APART_NS = 10_000

Motion = Callable[[float], np.ndarray]
"""Positions of the state joints [rad or m] at a time after the begin [s]."""


def ramp(robot: Embodiment, speed: float = 0.02) -> Motion:
    """From the start pose to the middle of the range; each joint faster than the one before [rad/s]."""
    start = np.array([robot.start_pose[joint] for joint in robot.state_joints])
    limits = [robot.limits[joint] for joint in robot.state_joints]
    middle = np.array([(limit.lower + limit.upper) / 2 for limit in limits])
    speeds = np.where(middle >= start, 1, -1) * speed * (1 + np.arange(len(start)))
    speeds[np.isin(robot.state_joints, robot.gripper_joints)] = -0.001
    return lambda time_s: start + speeds * time_s


def wave(robot: Embodiment, swing: float = 0.1) -> Motion:
    """Around the ramp, out and back every 3 s [rad]; grippers keep to the ramp."""
    way = ramp(robot)
    arms = ~np.isin(robot.state_joints, robot.gripper_joints)
    return lambda time_s: way(time_s) + arms * swing * np.sin(2 * np.pi * time_s / 3)


def picture(number: int, camera: int, width: int = 64, height: int = 36) -> np.ndarray:
    """A smooth pattern that wanders."""
    rows, columns = np.mgrid[:height, :width]
    shades = [np.sin(0.1 * rows + 0.07 * columns + 0.2 * number + shift) for shift in (camera, 2, 4)]
    return np.rint(127 * (1 + np.stack(shades, axis=-1))).astype(np.uint8)


def image(stamp_ns: int, pixels: np.ndarray) -> Any:
    height, width, _ = pixels.shape
    kind = T["sensor_msgs/msg/Image"]
    return kind(bags.header(stamp_ns), height, width, "rgb8", 0, 3 * width, pixels.ravel())


def joint_state(robot: Embodiment, stamp_ns: int, positions: np.ndarray) -> Any:
    message = bags.joint_state(stamp_ns, robot.state_joints)
    message.position = positions
    return message


def point(names: tuple[str, ...], positions: np.ndarray, after_ns: int) -> Any:
    """A trajectory of one point."""
    duration = T["builtin_interfaces/msg/Duration"](sec=after_ns // NS, nanosec=after_ns % NS)
    nothing = np.zeros(0)
    made = T["trajectory_msgs/msg/JointTrajectoryPoint"](positions, nothing, nothing, nothing, duration)
    return T["trajectory_msgs/msg/JointTrajectory"](bags.header(0), list(names), [made])


def session(
    robot: Embodiment, motion: Motion, seconds: float, commands: bool = True, slowly: int = 1
) -> list[Message]:
    """What cameras, joints and controllers send, by log time.

    The joints are where the motion says; with commands, each is told every time where it is to be one period
    later. All rates are divided by `slowly`.
    """
    streams = [
        *(_images(robot, number, slowly, seconds) for number in range(len(robot.cameras))),
        _joint_states(robot, motion, slowly, seconds),
        *(
            _commands(robot, motion, number, slowly, seconds)
            for number in range(len(robot.controllers))
            if commands
        ),
    ]
    return sorted((entry for stream in streams for entry in stream), key=lambda entry: entry[1])


def _times(slowly: int, seconds: float, rate_hz: int) -> Iterator[tuple[int, float, int]]:
    for number in range(round(seconds * rate_hz / slowly)):
        yield number, number * slowly / rate_hz, START_NS + number * slowly * NS // rate_hz


def _images(robot: Embodiment, camera: int, slowly: int, seconds: float) -> Iterator[Message]:
    topic = f"/{robot.cameras[camera].topic}"
    for number, _, stamp in _times(slowly, seconds, CAMERA_RATE_HZ):
        yield topic, stamp + DELAY_NS + camera * APART_NS, image(stamp, picture(number, camera))


def _joint_states(robot: Embodiment, motion: Motion, slowly: int, seconds: float) -> Iterator[Message]:
    for _, time_s, stamp in _times(slowly, seconds, JOINT_RATE_HZ):
        yield "/joint_states", stamp + DELAY_NS - APART_NS, joint_state(robot, stamp, motion(time_s))


def _commands(
    robot: Embodiment, motion: Motion, controller: int, slowly: int, seconds: float
) -> Iterator[Message]:
    entry, period_s = robot.controllers[controller], slowly / COMMAND_RATE_HZ
    columns = [robot.state_joints.index(joint) for joint in entry.joints]
    for _, time_s, stamp in _times(slowly, seconds, COMMAND_RATE_HZ):
        positions = motion(time_s + period_s)[columns]
        yield f"/{entry.name}/joint_trajectory", stamp, point(entry.joints, positions, round(period_s * NS))
