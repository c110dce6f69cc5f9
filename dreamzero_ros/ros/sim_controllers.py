# SPDX-License-Identifier: Apache-2.0
"""The simulated controllers as ROS sees them: topics and, where control_msgs is installed, actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.schema import Controller
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.lifecycle import ManagedNode
from dreamzero_ros.ros.messages import NS_PER_S, duration_ns
from dreamzero_ros.ros.qos import COMMAND
from dreamzero_ros.ros.sim_goals import ControllerFaults, End, GoalServer
from dreamzero_ros.sim.controller import (
    SimJointTrajectoryController,
    TrajectoryCommand,
    TrajectoryRejectedError,
)

try:
    from control_msgs.action import FollowJointTrajectory, GripperCommand
except ImportError:
    FollowJointTrajectory = GripperCommand = None

GRIPPER_TOLERANCE = 1e-3
"""Distance at which a gripper is where it was told to go, and by which one that stalls moves [rad or m]."""
STALL_NS = NS_PER_S
"""After this time a gripper that stalls gives up [ns]."""


class TrajectoryServer:
    """A joint_trajectory_controller: takes its topic and goals of its action.

    As in the released branches a newer goal aborts the one before, a message on the topic replaces the
    trajectory but not the goal, and a joint that leaves its path makes it hold where the joints are.

    Args:
        node: Serves.
        entry: Name and joints.
        positions: (J,) setpoint before the first trajectory [rad or m].
        faults: Looked at whenever it matters.
    """

    def __init__(
        self, node: ManagedNode, entry: Controller, positions: np.ndarray, faults: ControllerFaults
    ) -> None:
        self.joints = entry.joints
        self._node = node
        self._faults = faults
        self._controller = SimJointTrajectoryController(entry.joints, positions)
        self._subscription = node.create_subscription(
            JointTrajectory, f"{entry.name}/joint_trajectory", self._take_message, COMMAND
        )
        self._goals: GoalServer | None = None
        if FollowJointTrajectory is not None:
            replaced = _result("INVALID_GOAL", "Current goal preempted by new incoming action.")
            name = f"{entry.name}/follow_joint_trajectory"
            self._goals = GoalServer(node, FollowJointTrajectory, name, self._take_goal, replaced, faults)

    def update(self, now_ns: int, measured: np.ndarray) -> np.ndarray:
        """Setpoint (J,) at a time [rad or m]; goals end when their time has come."""
        setpoint, _ = self._controller.update(now_ns, measured)
        remaining_ns = self._controller.remaining_ns(now_ns)
        error = np.abs(setpoint - measured)
        if self._goals is not None and self._goals.cancel_requested:
            self._controller.hold(measured)
            self._end("canceled", "SUCCESSFUL", "")
        elif remaining_ns is not None and remaining_ns <= 0:
            self._end("succeed", "SUCCESSFUL", "Goal successfully reached!")
        elif remaining_ns is not None and error.max() > self._faults.path_tolerance:
            joint = self.joints[int(np.argmax(error))]
            self._node.get_logger().error(f"{joint}: state tolerance violation, holding position")
            self._controller.hold(measured)
            self._end("abort", "PATH_TOLERANCE_VIOLATED", "Aborted due to path tolerance violation")
        return setpoint

    def stop(self) -> None:
        """The controller is deactivated."""
        self._end("abort", "INVALID_GOAL", "Current goal cancelled during deactivate transition.")

    def close(self) -> None:
        """Ends serving."""
        self._node.destroy_subscription(self._subscription)
        if self._goals is not None:
            self._goals.close()

    def _end(self, end: End, code: str, words: str) -> None:
        if self._goals is not None and self._goals.active:
            self._goals.end(end, _result(code, words))

    def _take_message(self, message: JointTrajectory) -> None:
        if not self._node.active:
            return
        try:
            self._submit(message)
        except TrajectoryRejectedError as error:
            self._node.get_logger().error(f"trajectory rejected: {error}")

    def _take_goal(self, goal: Any) -> None:
        self._submit(goal.trajectory)

    def _submit(self, message: JointTrajectory) -> None:
        self._controller.submit(trajectory_command(message), self._node.get_clock().now().nanoseconds)


class GripperServer:
    """A gripper driver: goes to where its last goal says, and gives up when it stalls on the way.

    Args:
        node: Serves.
        entry: Name and joint.
        positions: (1,) where it begins [rad or m].
        faults: Looked at whenever it matters.

    Raises:
        ValueError: control_msgs is not installed.
    """

    def __init__(
        self, node: ManagedNode, entry: Controller, positions: np.ndarray, faults: ControllerFaults
    ) -> None:
        if GripperCommand is None:
            raise ValueError(f"{entry.name} takes GripperCommand goals, and control_msgs is not installed")
        self.joints = entry.joints
        self._setpoint = positions.copy()
        self._moved: tuple[int, np.ndarray] | None = None
        name, replaced = f"{entry.name}/gripper_cmd", GripperCommand.Result()
        self._goals = GoalServer(node, GripperCommand, name, self._take_goal, replaced, faults)

    def update(self, now_ns: int, measured: np.ndarray) -> np.ndarray:
        """Setpoint (1,) at a time [rad or m]; the goal ends when it is reached or the gripper stalls."""
        if not self._goals.active:
            return self._setpoint
        if self._moved is None or np.abs(measured - self._moved[1]).max() > GRIPPER_TOLERANCE:
            self._moved = now_ns, measured
        reached = bool(np.abs(self._setpoint - measured).max() < GRIPPER_TOLERANCE)
        stalled = not reached and now_ns - self._moved[0] > STALL_NS
        result = GripperCommand.Result(position=float(measured[0]), reached_goal=reached, stalled=stalled)
        if self._goals.cancel_requested:
            self._setpoint = measured.copy()
            self._goals.end("canceled", result)
        elif reached:
            self._goals.end("succeed", result)
        elif stalled:
            self._goals.end("abort", result)
        return self._setpoint

    def stop(self) -> None:
        """The controller is deactivated."""
        self._goals.end("abort", GripperCommand.Result())

    def close(self) -> None:
        """Ends serving."""
        self._goals.close()

    def _take_goal(self, goal: Any) -> None:
        self._setpoint = np.array([goal.command.position])
        self._moved = None


def serve_controllers(
    node: ManagedNode,
    controllers: Sequence[Controller],
    positions_of: Callable[[Sequence[str]], np.ndarray],
    faults: ControllerFaults,
) -> list[TrajectoryServer | GripperServer]:
    """One server for each controller of a robot file."""
    kinds = {"joint_trajectory": TrajectoryServer, "gripper_command": GripperServer}
    return [kinds[entry.type](node, entry, positions_of(entry.joints), faults) for entry in controllers]


def trajectory_command(message: JointTrajectory) -> TrajectoryCommand:
    """What a controller reads of a message.

    Raises:
        TrajectoryRejectedError: A point has other than one position and velocity, or no velocity, per joint.
    """
    count, points = len(message.joint_names), message.points
    for i, point in enumerate(points):
        for name, values in (("positions", point.positions), ("velocities", point.velocities or [0] * count)):
            if len(values) != count:
                raise TrajectoryRejectedError(
                    f"Mismatch between joint_names size ({count}) and {name} ({len(values)}) at point #{i}."
                )
    moving = all(len(point.velocities) for point in points)
    return TrajectoryCommand(
        stamp_ns=stamp_ns(message),
        joints=tuple(message.joint_names),
        times_ns=np.array([duration_ns(point.time_from_start) for point in points], np.int64),
        positions=np.array([point.positions for point in points]),
        velocities=np.array([point.velocities for point in points]) if moving else None,
    )


def _result(code: str, words: str) -> Any:
    kind = FollowJointTrajectory.Result
    return kind(error_code=getattr(kind, code), error_string=words)
