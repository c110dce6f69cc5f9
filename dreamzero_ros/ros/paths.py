# SPDX-License-Identifier: Apache-2.0
"""The coming targets as the way of each end effector through the room, for RViz."""

from __future__ import annotations

import math

import numpy as np
from nav_msgs.msg import Path
from rclpy.node import Node
from rclpy.publisher import Publisher

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.kinematics.chain import Chain, KinematicsError
from dreamzero_ros.motion.trajectory import NS_PER_S, Trajectory
from dreamzero_ros.ros.messages import path_message
from dreamzero_ros.ros.qos import REPORT

STEP_S = 0.05
"""Time between two poses [s]."""
MOST_STEPS = 64
"""Longer trajectories get longer steps."""


class EndEffectorPaths:
    """Publishes ``~/end_effector/<name>/path`` for each end effector of the robot file.

    The frame is the root link of the description. A path that cannot be computed is told in the log and left
    out at once, so that nothing fails while the robot moves.

    Args:
        node: The node that publishes.
        embodiment: The robot file.
        urdf: Content of ``robot_description``.
    """

    def __init__(self, node: Node, embodiment: Embodiment, urdf: str) -> None:
        self._node = node
        self._paths: list[tuple[Chain, Publisher]] = []
        for name, tip in embodiment.end_effectors.items():
            try:
                chain = _chain(urdf, tip, embodiment)
            except KinematicsError as error:
                node.get_logger().warning(f"no path of end effector {name!r}: {error}")
            except ImportError as error:
                node.get_logger().warning(f"no paths of end effectors: {error}")
                return
            else:
                topic = f"~/end_effector/{name}/path"
                self._paths.append((chain, node.create_publisher(Path, topic, REPORT)))

    def publish(self, trajectory: Trajectory) -> None:
        """Publishes the paths that somebody subscribes to.

        Args:
            trajectory: Of all command joints.
        """
        wanted = [path for path in self._paths if path[1].get_subscription_count()]
        if not wanted:
            return
        length_ns = trajectory.end_ns - trajectory.start_ns
        steps = min(math.ceil(length_ns / (STEP_S * NS_PER_S)), MOST_STEPS)
        times_ns = trajectory.start_ns + np.linspace(0, length_ns, steps + 1).astype(np.int64)
        positions, _ = trajectory.sample(times_ns)
        for chain, publisher in wanted:
            poses = chain.poses(trajectory.joints, positions)
            publisher.publish(path_message(chain.base, times_ns, poses))

    def close(self) -> None:
        """Ends publishing."""
        for _, publisher in self._paths:
            self._node.destroy_publisher(publisher)
        self._paths = []


def _chain(urdf: str, tip: str, embodiment: Embodiment) -> Chain:
    chain = Chain(urdf, tip)
    unknown = [joint for joint in chain.joints if joint not in embodiment.command_joints]
    if unknown:
        raise KinematicsError(
            f"{', '.join(unknown)} move {tip} too, and the robot file does not command them"
        )
    return chain
