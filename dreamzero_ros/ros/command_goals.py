# SPDX-License-Identifier: Apache-2.0
"""Trajectories -> goals of controllers' actions, and what the controllers say to them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

from dreamzero_ros.embodiment.schema import Controller, JointLimits
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.ros.messages import trajectory_message

LOOK_PERIOD_S = 0.02
"""Time between two looks at what a gripper is to do [s]."""
GRIPPER_STEP = 0.02
"""Share of a gripper's range by which its position must change to be worth a goal."""
AT_REST = 1e-6
"""Speed below which a gripper counts as resting [rad/s or m/s]."""


def control_actions() -> Any:
    """The module control_msgs.action.

    Raises:
        ValueError: It is not installed.
    """
    try:
        from control_msgs import action
    except ImportError as error:
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        raise ValueError(
            "commanding by actions needs control_msgs, which is not installed: apt install "
            f"ros-{distribution}-control-msgs, or command by topic (command_output:=topic and, in the robot "
            "file, controllers of type joint_trajectory)"
        ) from error
    return action


class GoalSender:
    """Sends goals of which each replaces the one before.

    Args:
        node: Sends.
        kind: Type of the action.
        name: Name of the action.
        on_rejected: Called, in words, when the newest goal was not taken.
        on_result: Called with status and result of the newest goal.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        name: str,
        on_rejected: Callable[[str], None],
        on_result: Callable[[int, Any], None],
    ) -> None:
        self.goal_ids: set[bytes] = set()
        self._client = ActionClient(node, kind, name)
        self._name = name
        self._on_rejected = on_rejected
        self._on_result = on_result
        self._newest = b""

    def send(self, goal: Any) -> None:
        """Sends a goal; what becomes of the one before is no longer of interest."""
        if not self._client.server_is_ready():
            self._on_rejected(
                f"{self._name} has no server: start the controller, or name it in the robot file as it is"
            )
            return
        goal_id = uuid.uuid4().bytes
        self._newest = goal_id
        self.goal_ids.add(goal_id)
        sent = self._client.send_goal_async(goal, goal_uuid=UUID(uuid=np.frombuffer(goal_id, np.uint8)))
        sent.add_done_callback(lambda future: self._take_answer(goal_id, future))

    def close(self) -> None:
        """Ends the client; goals go on."""
        self._client.destroy()

    def _take_answer(self, goal_id: bytes, future: Future) -> None:
        handle = future.result()
        if handle is not None and handle.accepted:
            handle.get_result_async().add_done_callback(lambda future: self._take_result(goal_id, future))
            return
        self.goal_ids.discard(goal_id)
        if goal_id == self._newest:
            self._on_rejected(f"{self._name} rejected a goal: its log says why")

    def _take_result(self, goal_id: bytes, future: Future) -> None:
        self.goal_ids.discard(goal_id)
        response = future.result()
        if goal_id == self._newest and response is not None:
            self._on_result(response.status, response.result)


class TrajectoryGoals:
    """Commands a joint_trajectory_controller by goals of its FollowJointTrajectory action.

    Args:
        node: Sends.
        controller: Its name and joints.
        on_rejected: Called, in words, when the controller rejects, aborts or is not there.
    """

    def __init__(self, node: Node, controller: Controller, on_rejected: Callable[[str], None]) -> None:
        self._kind = control_actions().FollowJointTrajectory
        self._joints = controller.joints
        self._name = f"{controller.name}/follow_joint_trajectory"
        self._on_rejected = on_rejected
        self._sender = GoalSender(node, self._kind, self._name, on_rejected, self._take_result)

    @property
    def goal_ids(self) -> set[bytes]:
        """Ids of the goals that are ours."""
        return self._sender.goal_ids

    def send(self, trajectory: Trajectory) -> None:
        """Sends the share of the controller; the controller aborts the goal before it, as it should."""
        self._sender.send(self._kind.Goal(trajectory=trajectory_message(trajectory, self._joints)))

    def close(self) -> None:
        """Ends the client."""
        self._sender.close()

    def _take_result(self, status: int, result: Any) -> None:
        if status == GoalStatus.STATUS_SUCCEEDED:
            return
        if status == GoalStatus.STATUS_CANCELED:
            self._on_rejected(f"{self._name}: somebody canceled the goal")
            return
        kind = type(result)
        codes = {getattr(kind, name): name for name in ERROR_CODES}
        words = result.error_string or "no further words"
        self._on_rejected(f"{self._name} aborted: {codes.get(result.error_code, result.error_code)}, {words}")


ERROR_CODES = (
    "INVALID_GOAL",
    "INVALID_JOINTS",
    "OLD_HEADER_TIMESTAMP",
    "PATH_TOLERANCE_VIOLATED",
    "GOAL_TOLERANCE_VIOLATED",
)
"""Constants of the result of FollowJointTrajectory."""


class GripperGoals:
    """Commands a gripper by goals of its GripperCommand action.

    Such a driver closes at its own speed to where it is told. A goal is sent when the trajectory sets the
    gripper in motion, for the position at which it next comes to rest. What the driver makes of it is not
    surveyed: a gripper that closes on an object stalls, which some drivers call an abort.

    Args:
        node: Sends.
        controller: Its name, its only joint, and the largest effort.
        limits: Of the joint.
        on_rejected: Called, in words, when the driver rejects a goal or is not there.
    """

    def __init__(
        self, node: Node, controller: Controller, limits: JointLimits, on_rejected: Callable[[str], None]
    ) -> None:
        self._kind = control_actions().GripperCommand
        self._node = node
        self._joint = controller.joints[0]
        self._effort = controller.max_effort
        self._step = GRIPPER_STEP * (limits.upper - limits.lower)
        name = f"{controller.name}/gripper_cmd"
        self._sender = GoalSender(node, self._kind, name, on_rejected, lambda status, result: None)
        self._way: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._told: float | None = None
        self._timer = node.create_timer(LOOK_PERIOD_S, self._look)

    @property
    def goal_ids(self) -> set[bytes]:
        """Ids of the goals that are ours."""
        return self._sender.goal_ids

    def send(self, trajectory: Trajectory) -> None:
        """Goes by this trajectory from now on."""
        column = trajectory.joints.index(self._joint)
        rests = np.abs(trajectory.velocities[:, column]) < AT_REST
        self._way = trajectory.points_ns, trajectory.positions[:, column], rests
        self._look()

    def close(self) -> None:
        """Ends the client."""
        self._node.destroy_timer(self._timer)
        self._sender.close()

    def _look(self) -> None:
        if self._way is None:
            return
        position = next_rest(*self._way, self._node.get_clock().now().nanoseconds)
        if self._told is None or abs(position - self._told) > self._step:
            self._told = position
            goal = self._kind.Goal()
            goal.command.position = position
            goal.command.max_effort = self._effort
            self._sender.send(goal)


def next_rest(points_ns: np.ndarray, positions: np.ndarray, rests: np.ndarray, now_ns: int) -> float:
    """Where a joint comes to rest next, or rests [rad or m].

    Args:
        points_ns: (N,) times of the points of a trajectory [ns, ROS clock].
        positions: (N,) of the joint there [rad or m].
        rests: (N,) whether it is at rest there; the last is.
        now_ns: Time now [ns, ROS clock].
    """
    passed = int(np.searchsorted(points_ns, now_ns, side="right")) - 1
    coming = max(passed, 0) + int(np.argmax(rests[max(passed, 0) :]))
    return float(positions[coming])
