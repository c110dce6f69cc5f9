# SPDX-License-Identifier: Apache-2.0
"""Standard messages for recordings that are written, one function per type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from dreamzero_ros.evaluation.episode import Floats

NS_PER_S = 1_000_000_000

STORE = get_typestore(Stores.ROS2_HUMBLE)
"""Definitions of the oldest distribution that is supported; later ones have the same."""

OK, WARN = 0, 1
"""Levels of diagnostic_msgs/DiagnosticStatus."""


def image(jpeg: bytes, at_ns: int, frame_id: str) -> Any:
    """sensor_msgs/CompressedImage of a JPEG file."""
    data = np.frombuffer(jpeg, np.uint8)
    return _make("sensor_msgs/msg/CompressedImage", header=_header(at_ns, frame_id), format="jpeg", data=data)


def joint_state(joints: Sequence[str], positions: Floats, velocities: Floats, at_ns: int) -> Any:
    """sensor_msgs/JointState of (J,) positions [rad or m] and velocities [rad/s or m/s]."""
    return _make(
        "sensor_msgs/msg/JointState",
        header=_header(at_ns),
        name=list(joints),
        position=positions,
        velocity=velocities,
        effort=np.zeros(0),
    )


def trajectory(joints: Sequence[str], start_ns: int, times_ns: Iterable[int], positions: Floats) -> Any:
    """trajectory_msgs/JointTrajectory through (N, J) positions, N times after its start."""
    nothing = np.zeros(0)
    points = [
        _make(
            "trajectory_msgs/msg/JointTrajectoryPoint",
            positions=np.ascontiguousarray(row),
            velocities=nothing,
            accelerations=nothing,
            effort=nothing,
            time_from_start=_make(
                "builtin_interfaces/msg/Duration", sec=time_ns // NS_PER_S, nanosec=time_ns % NS_PER_S
            ),
        )
        for time_ns, row in zip(times_ns, positions, strict=True)
    ]
    return _make(
        "trajectory_msgs/msg/JointTrajectory",
        header=_header(start_ns),
        joint_names=list(joints),
        points=points,
    )


def text(data: str) -> Any:
    """std_msgs/String."""
    return _make("std_msgs/msg/String", data=data)


def number(data: float) -> Any:
    """std_msgs/Float64."""
    return _make("std_msgs/msg/Float64", data=data)


def diagnostics(name: str, level: int, words: str, values: Mapping[str, object], at_ns: int) -> Any:
    """diagnostic_msgs/DiagnosticArray of one status."""
    pairs = [
        _make("diagnostic_msgs/msg/KeyValue", key=key, value=str(value)) for key, value in values.items()
    ]
    status = _make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=level,
        name=name,
        message=words,
        hardware_id="",
        values=pairs,
    )
    return _make("diagnostic_msgs/msg/DiagnosticArray", header=_header(at_ns), status=[status])


def _header(at_ns: int, frame_id: str = "") -> Any:
    stamp = _make("builtin_interfaces/msg/Time", sec=at_ns // NS_PER_S, nanosec=at_ns % NS_PER_S)
    return _make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def _make(kind: str, **fields: object) -> Any:
    make: Any = STORE.types[kind]
    return make(**fields)
