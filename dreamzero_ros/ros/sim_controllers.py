# SPDX-License-Identifier: Apache-2.0
"""The simulated controllers as ROS sees them: topics and, where control_msgs is installed, actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.schema import Controller
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.messages import duration_ns
from dreamzero_ros.ros.qos import COMMAND
from dreamzero_ros.sim.controller import (
    SimJointTrajectoryController,
    TrajectoryCommand,
    TrajectoryRejectedError,
)

try:
    from control_msgs.action import FollowJointTrajectory, GripperCommand
except ImportError:
    FollowJointTrajectory = GripperCommand = None


@dataclass
class ControllerFaults:
    """What may be made to go wrong."""

    reject_goals: bool = False
    """Every goal is rejected."""
    path_tolerance: float = np.inf
    """A goal is aborted when a joint is further from its setpoint [rad or m]."""


class TrajectoryServer:
    """A joint_trajectory_controller: takes its topic and goals of its action.

    As in the released branches a newer goal aborts the one before, and a message on the topic replaces the
    trajectory but not the goal.

    Args:
        node: Serves.
        entry: Name and joints.
        positions: (J,) setpoint before the first trajectory [rad or m].
        faults: Looked at whenever it matters.
    """

    def __init__(
        self, node: Node, entry: Controller, positions: np.ndarray, faults: ControllerFaults
    ) -> None:
        self.joints = entry.joints
        self._node = node
        self._faults = faults
        self._controller = SimJointTrajectoryController(entry.joints, positions)
        self._goal: _Goal | None = None
        self._subscription = node.create_subscription(
            JointTrajectory, f"{entry.name}/joint_trajectory", self._take_message, COMMAND
        )
        self._server = None
        if FollowJointTrajectory is not None:
            self._server = ActionServer(
                node,
                FollowJointTrajectory,
                f"{entry.name}/follow_joint_trajectory",
                self._execute,
                goal_callback=self._judge,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )

    def update(self, now_ns: int, measured: np.ndarray) -> np.ndarray:
        """Setpoint (J,) at a time [rad or m]; goals end when their time has come."""
        setpoint, _ = self._controller.update(now_ns, measured)
        goal = self._goal
        if goal is not None:
            error = np.abs(setpoint - measured)
            if (error > self._faults.path_tolerance).any():
                joint = self.joints[int(np.argmax(error))]
                self._controller.hold(measured)
                self._finish(FollowJointTrajectory.Result.PATH_TOLERANCE_VIOLATED, f"{joint} left its path")
            elif goal.handle.is_cancel_requested:
                self._controller.hold(measured)
                self._finish(FollowJointTrajectory.Result.SUCCESSFUL, "canceled")
            elif now_ns >= goal.end_ns:
                self._finish(FollowJointTrajectory.Result.SUCCESSFUL, "Goal successfully reached!")
        return setpoint

    def close(self) -> None:
        """Ends serving."""
        self._node.destroy_subscription(self._subscription)
        if self._server is not None:
            self._server.destroy()

    def _take_message(self, message: JointTrajectory) -> None:
        try:
            self._submit(message)
        except TrajectoryRejectedError as error:
            self._node.get_logger().error(f"trajectory rejected: {error}")

    def _submit(self, message: JointTrajectory) -> None:
        self._controller.submit(trajectory_command(message), self._now_ns())

    def _judge(self, goal: Any) -> GoalResponse:
        if self._faults.reject_goals:
            return GoalResponse.REJECT
        try:
            self._submit(goal.trajectory)
        except TrajectoryRejectedError as error:
            self._node.get_logger().error(f"goal rejected: {error}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Any:
        result = FollowJointTrajectory.Result
        self._finish(result.INVALID_GOAL, "Current goal preempted by new incoming action.")
        command = trajectory_command(handle.request.trajectory)
        end_ns = (command.stamp_ns or self._now_ns()) + int(command.times_ns[-1])
        goal = self._goal = _Goal(handle, end_ns, Future())
        code, words = await goal.ended
        if handle.is_cancel_requested:
            handle.canceled()
        elif code == result.SUCCESSFUL:
            handle.succeed()
        else:
            handle.abort()
        return result(error_code=code, error_string=words)

    def _finish(self, code: int, words: str) -> None:
        goal, self._goal = self._goal, None
        if goal is not None:
            goal.ended.set_result((code, words))

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds


@dataclass
class _Goal:
    handle: ServerGoalHandle
    end_ns: int
    ended: Future


class GripperServer:
    """A gripper driver: goes to where its last goal says.

    Args:
        node: Serves.
        entry: Name and joint.
        positions: (1,) where it begins [rad or m].
        faults: Looked at whenever it matters.

    Raises:
        ValueError: control_msgs is not installed.
    """

    def __init__(
        self, node: Node, entry: Controller, positions: np.ndarray, faults: ControllerFaults
    ) -> None:
        if GripperCommand is None:
            raise ValueError(f"{entry.name} takes GripperCommand goals, and control_msgs is not installed")
        self.joints = entry.joints
        self._faults = faults
        self._setpoint = positions.copy()
        self._server = ActionServer(
            node, GripperCommand, f"{entry.name}/gripper_cmd", self._execute, goal_callback=self._judge
        )

    def update(self, now_ns: int, measured: np.ndarray) -> np.ndarray:
        """Setpoint (1,) at a time [rad or m]."""
        return self._setpoint

    def close(self) -> None:
        """Ends serving."""
        self._server.destroy()

    def _judge(self, goal: Any) -> GoalResponse:
        return GoalResponse.REJECT if self._faults.reject_goals else GoalResponse.ACCEPT

    def _execute(self, handle: ServerGoalHandle) -> Any:
        position = handle.request.command.position
        self._setpoint = np.array([position])
        handle.succeed()
        return GripperCommand.Result(position=position, reached_goal=True)


def serve_controllers(
    node: Node,
    controllers: Sequence[Controller],
    positions_of: Callable[[Sequence[str]], np.ndarray],
    faults: ControllerFaults,
) -> list[TrajectoryServer | GripperServer]:
    """One server for each controller of a robot file."""
    kinds = {"joint_trajectory": TrajectoryServer, "gripper_command": GripperServer}
    return [kinds[entry.type](node, entry, positions_of(entry.joints), faults) for entry in controllers]


def trajectory_command(message: JointTrajectory) -> TrajectoryCommand:
    """What a controller reads of a message."""
    points = message.points
    moving = all(len(point.velocities) for point in points)
    return TrajectoryCommand(
        stamp_ns=stamp_ns(message),
        joints=tuple(message.joint_names),
        times_ns=np.array([duration_ns(point.time_from_start) for point in points], np.int64),
        positions=np.array([point.positions for point in points]),
        velocities=np.array([point.velocities for point in points]) if moving else None,
    )
