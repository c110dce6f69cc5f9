# SPDX-License-Identifier: Apache-2.0
"""Values of the package <-> ROS messages, one pure function per message type."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from nav_msgs.msg import Path
from numpy.typing import NDArray
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from dreamzero_ros.kinematics.chain import quaternions
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.policy.rollout import Command
from dreamzero_ros.policy.worker import Dream
from dreamzero_ros.ros.interfaces import Chunk

NS_PER_S = 1_000_000_000


def time_message(ns: int) -> Time:
    """Nanoseconds on the ROS clock as a stamp."""
    return Time(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def duration_ns(duration: Duration) -> int:
    """A duration in nanoseconds."""
    return duration.sec * NS_PER_S + duration.nanosec


def duration_message(seconds: float) -> Duration:
    """Seconds as a duration, to the nearest nanosecond."""
    ns = round(seconds * NS_PER_S)
    return Duration(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def trajectory_message(trajectory: Trajectory, joints: Sequence[str]) -> JointTrajectory:
    """The share of a trajectory that belongs to `joints`, stamped with its start."""
    columns = [trajectory.joints.index(joint) for joint in joints]
    message = JointTrajectory(joint_names=list(joints))
    message.header.stamp = time_message(trajectory.start_ns)
    positions, velocities = trajectory.positions[:, columns], trajectory.velocities[:, columns]
    message.points = [
        JointTrajectoryPoint(
            positions=array("d", position.tobytes()),
            velocities=array("d", velocity.tobytes()),
            time_from_start=duration_message(time_s),
        )
        for time_s, position, velocity in zip(trajectory.times_s, positions, velocities, strict=True)
    ]
    return message


def trajectory_of(message: JointTrajectory) -> Trajectory:
    """The inverse of `trajectory_message`; every point must have velocities."""
    points = message.points
    return Trajectory(
        start_ns=stamp_ns(message),
        joints=tuple(message.joint_names),
        times_s=np.array([duration_ns(point.time_from_start) / NS_PER_S for point in points]),
        positions=np.array([point.positions for point in points]),
        velocities=np.array([point.velocities for point in points]),
    )


def chunk_message(command: Command) -> Chunk:
    """The chunk as the policy gave it, and the trajectory made of it."""
    chunk = command.chunk
    message = Chunk(
        index=command.index,
        instruction=command.instruction,
        joint_names=list(chunk.joints),
        step_s=chunk.dt_s,
        targets=chunk.targets.ravel().tolist(),
        used=command.plan.used,
        dropped=command.plan.dropped,
        latency_s=command.latency_s,
        trajectory=trajectory_message(command.plan.trajectory, chunk.joints),
    )
    message.header.stamp = time_message(chunk.stamp_ns)
    return message


def image_message(image: NDArray[np.uint8], at_ns: int, frame_id: str) -> Image:
    """(H, W, 3) uint8 RGB as rgb8."""
    height, width, _ = image.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=image.tobytes())
    message.header.stamp = time_message(at_ns)
    message.header.frame_id = frame_id
    return message


def dream_messages(dream: Dream) -> list[Image]:
    """The images of a dream, each stamped with the time for which it was dreamed."""
    return [
        image_message(image, at_ns, "imagined")
        for image, at_ns in zip(dream.video, dream.times_ns(), strict=True)
    ]


def path_message(frame_id: str, times_ns: NDArray[np.int64], poses: NDArray[np.float64]) -> Path:
    """Poses (N, 4, 4) in a frame [m], each with its time (N,) [ns, ROS clock]; stamped with the first."""
    message = Path()
    message.header.frame_id = frame_id
    message.header.stamp = time_message(int(times_ns[0]))
    positions, turns = poses[:, :3, 3].tolist(), quaternions(poses).tolist()
    for at_ns, (x, y, z), (qx, qy, qz, qw) in zip(times_ns.tolist(), positions, turns, strict=True):
        pose = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
        stamped = PoseStamped(pose=pose)
        stamped.header.frame_id, stamped.header.stamp = frame_id, time_message(at_ns)
        message.poses.append(stamped)
    return message


def joint_state_message(joints: Sequence[str], positions: Sequence[float], at_ns: int) -> JointState:
    """Joint positions by name [rad or m]."""
    message = JointState(name=list(joints), position=[float(position) for position in positions])
    message.header.stamp = time_message(at_ns)
    return message


def diagnostics_message(
    name: str, level: bytes, text: str, values: Mapping[str, str], at_ns: int
) -> DiagnosticArray:
    """One diagnostic status; `level` is one of the constants of DiagnosticStatus."""
    status = DiagnosticStatus(
        level=level,
        name=name,
        message=text,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    message = DiagnosticArray(status=[status])
    message.header.stamp = time_message(at_ns)
    return message
