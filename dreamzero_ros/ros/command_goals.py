# SPDX-License-Identifier: Apache-2.0
"""Trajectories -> goals of controllers' actions, and what the controllers say to them."""

from __future__ import annotations

import time
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
from dreamzero_ros.ros.messages import NS_PER_S, trajectory_message
from dreamzero_ros.ros.packages import apt_install

AWAITED_GOALS = 32
"""Goals whose answers and results are awaited; those of older ones are no longer of interest."""
ANSWER_S = 2.0
"""Longest time in which a server answers none of its goals [s]."""
LOOK_PERIOD_S = 0.05
"""Time between two looks at what a gripper is to do [s]."""
LOOK_AHEAD_NS = NS_PER_S // 2
"""How far ahead of the trajectory a gripper may be told to go [ns]."""
REST_STEP, WAY_STEP = 0.02, 0.1
"""Share of a gripper's range by which it must be told something else, at rest and on its way: many drivers
stop and start again with every goal."""
STILL = 1e-6
"""Speed and distance below which a gripper rests [rad or m, and per second]."""

FIXES = {
    "INVALID_GOAL": "its log says more",
    "INVALID_JOINTS": "name its joints in the robot file",
    "OLD_HEADER_TIMESTAMP": "give its machine the same time as this one",
    "PATH_TOLERANCE_VIOLATED": "clear the way of the arm, or widen its constraints.<joint>.trajectory",
    "GOAL_TOLERANCE_VIOLATED": "clear the way of the arm, or widen its constraints.<joint>.goal",
}
"""By error code of FollowJointTrajectory: what to do about it."""
TOLERANCES = ("PATH_TOLERANCE_VIOLATED", "GOAL_TOLERANCE_VIOLATED")


def control_actions(controller: str, instead: str) -> Any:
    """The module control_msgs.action.

    Args:
        controller: Needs it.
        instead: How to do without, in words.

    Raises:
        ValueError: It is not installed.
    """
    try:
        from control_msgs import action
    except ImportError as error:
        raise ValueError(
            f"{controller} is commanded by its action, which needs control_msgs: "
            f"{apt_install('control_msgs')}, or {instead}"
        ) from error
    return action


class GoalSender:
    """Sends goals of which each replaces the one before; never waits, on the thread of the node.

    Args:
        node: Sends.
        kind: Type of the action.
        name: Name of the action.
        on_rejected: Called, in words, when the newest goal was not taken.
        on_end: Called when a goal has ended: whether it is the newest, its status and its result.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        name: str,
        on_rejected: Callable[[str], None],
        on_end: Callable[[bool, int, Any], None],
    ) -> None:
        self._client = ActionClient(node, kind, name)
        self._name = name
        self._on_rejected = on_rejected
        self._on_end = on_end
        self._newest = b""
        self._awaited: dict[bytes, Future] = {}
        self._silent_since_s: float | None = None

    @property
    def goal_ids(self) -> set[bytes]:
        """Ids of the goals that are ours."""
        return set(self._awaited)

    def missing(self) -> str:
        """Says in words that nobody serves the action, or nothing."""
        if self._client.server_is_ready():
            return ""
        return f"{self._name} has no server: start the controller, or correct its name in the robot file"

    def send(self, goal: Any) -> str:
        """Sends a goal; returns in words why nobody takes it, empty when it is on its way."""
        if words := self.missing():
            return words
        now_s = time.monotonic()
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        elif now_s - self._silent_since_s > ANSWER_S:
            self._silent_since_s = None
            return f"{self._name} has not answered for {ANSWER_S:g} s: is the controller manager alive?"
        goal_id = self._newest = uuid.uuid4().bytes
        sent = self._client.send_goal_async(goal, goal_uuid=UUID(uuid=np.frombuffer(goal_id, np.uint8)))
        self._await(goal_id, sent, self._take_answer)
        if len(self._awaited) > AWAITED_GOALS:
            self._awaited.pop(next(iter(self._awaited))).cancel()
        return ""

    def close(self) -> None:
        """Ends the client; goals go on, and what was said of them and not yet heard is not heard any more."""
        self._awaited.clear()
        self._client.destroy()

    def _await(self, goal_id: bytes, future: Future, take: Callable[[bytes, Any], None]) -> None:
        def done(future: Future) -> None:
            if self._awaited.get(goal_id) is future:
                take(goal_id, future.result())

        self._awaited[goal_id] = future
        future.add_done_callback(done)

    def _take_answer(self, goal_id: bytes, handle: Any) -> None:
        self._silent_since_s = None
        if handle.accepted:
            self._await(goal_id, handle.get_result_async(), self._take_result)
            return
        del self._awaited[goal_id]
        if goal_id == self._newest:
            self._on_rejected(
                f"{self._name} rejected a goal: its log says why; is it active, with the joints of the robot "
                "file and the clock of this machine?"
            )

    def _take_result(self, goal_id: bytes, response: Any) -> None:
        del self._awaited[goal_id]
        self._on_end(goal_id == self._newest, response.status, response.result)


class GoalOutput:
    """What outputs that command by goals have in common."""

    holding = False
    """Whether the controller or somebody else has ended the newest goal: it holds its joints."""
    _sender: GoalSender

    @property
    def goal_ids(self) -> set[bytes]:
        """Ids of the goals that are ours."""
        return self._sender.goal_ids

    def missing(self) -> str:
        """Says in words that nobody serves the action, or nothing."""
        return self._sender.missing()


class TrajectoryGoals(GoalOutput):
    """Commands a joint_trajectory_controller by goals of its FollowJointTrajectory action.

    A newer goal makes the controller abort the one before, as it should.

    Args:
        node: Sends.
        controller: Its name and joints.
        on_rejected: Called, in words, when the controller rejects or aborts, or somebody cancels.

    Raises:
        ValueError: control_msgs is not installed.
    """

    def __init__(self, node: Node, controller: Controller, on_rejected: Callable[[str], None]) -> None:
        self._kind = control_actions(controller.name, "command_output:=topic").FollowJointTrajectory
        self._joints = controller.joints
        self._name = f"{controller.name}/follow_joint_trajectory"
        self._on_rejected = on_rejected
        self._sender = GoalSender(node, self._kind, self._name, on_rejected, self._take_end)

    def send(self, trajectory: Trajectory) -> str:
        """Sends the share of the controller; returns why nobody takes it, or nothing."""
        self.holding = False
        return self._sender.send(self._kind.Goal(trajectory=trajectory_message(trajectory, self._joints)))

    def close(self) -> None:
        """Ends the client."""
        self._sender.close()

    def _take_end(self, newest: bool, status: int, result: Any) -> None:
        if status == GoalStatus.STATUS_SUCCEEDED:
            return
        codes = {getattr(type(result), name): name for name in FIXES}
        code = codes.get(result.error_code, f"error code {result.error_code}")
        self.holding = newest
        if newest and status == GoalStatus.STATUS_CANCELED:
            self._on_rejected(f"{self._name}: somebody else canceled or replaced the goal")
        elif newest or code in TOLERANCES:
            words = ", ".join(filter(None, (code, result.error_string)))
            self._on_rejected(f"{self._name} aborted ({words}): {FIXES.get(code, 'its log says more')}")


class GripperGoals(GoalOutput):
    """Commands a gripper by goals of its GripperCommand action.

    Such a driver goes at its own speed to where it is told. It is told where the trajectory comes to rest
    next, as soon as it sets the gripper in motion, or where it will be in half a second. Whether the driver
    gets there is not asked: a gripper that closes on an object stalls, which some drivers call an abort.

    Args:
        node: Sends.
        controller: Its name, its only joint, and the largest effort.
        limits: Of the joint.
        on_rejected: Called, in words, when the driver rejects a goal, or somebody cancels.

    Raises:
        ValueError: control_msgs is not installed.
    """

    def __init__(
        self, node: Node, controller: Controller, limits: JointLimits, on_rejected: Callable[[str], None]
    ) -> None:
        instead = "a controller of type joint_trajectory in the robot file"
        self._kind = control_actions(controller.name, instead).GripperCommand
        self._node = node
        self._joints = controller.joints
        self._effort = controller.max_effort
        self._range = limits.upper - limits.lower
        self._name = f"{controller.name}/gripper_cmd"
        self._on_rejected = on_rejected
        self._sender = GoalSender(node, self._kind, self._name, self._reject, self._take_end)
        self._way: Trajectory | None = None
        self._told: tuple[float, bool] | None = None
        self._timer = node.create_timer(LOOK_PERIOD_S, self._go_on)

    def send(self, trajectory: Trajectory) -> str:
        """Goes by this trajectory from now on; returns why nobody takes a goal, or nothing."""
        self.holding = False
        column = [trajectory.joints.index(joint) for joint in self._joints]
        self._way = Trajectory(
            trajectory.start_ns,
            self._joints,
            trajectory.times_s,
            trajectory.positions[:, column],
            trajectory.velocities[:, column],
        )
        return self._look()

    def close(self) -> None:
        """Ends the client."""
        self._node.destroy_timer(self._timer)
        self._sender.close()

    def _go_on(self) -> None:
        words = self._look()
        if words:
            self._on_rejected(words)

    def _look(self) -> str:
        """Tells the driver where to go when that is somewhere else than it was told before."""
        if self._way is None:
            return ""
        position, rests = told = aim(self._way, self._node.get_clock().now().nanoseconds)
        if self._told is not None and abs(position - self._told[0]) <= self._least_step(rests):
            return ""
        self._told = told
        goal = self._kind.Goal()
        goal.command.position = position
        goal.command.max_effort = self._effort
        words = self._sender.send(goal)
        if words:
            self._forget()
        return words

    def _least_step(self, rests: bool) -> float:
        """By how much the aim must differ from what the driver was told; the end of a way is told exactly."""
        if not rests:
            return WAY_STEP * self._range
        _, rested = self._told
        return REST_STEP * self._range if rested else STILL

    def _reject(self, words: str) -> None:
        self._forget()
        self._on_rejected(words)

    def _take_end(self, newest: bool, status: int, result: Any) -> None:
        if newest and status == GoalStatus.STATUS_CANCELED:
            self.holding = True
            self._reject(f"{self._name}: somebody else canceled or replaced the goal")

    def _forget(self) -> None:
        """Nothing is told any more before the next trajectory."""
        self._way = self._told = None


def aim(way: Trajectory, now_ns: int) -> tuple[float, bool]:
    """Where a gripper that goes by itself is to go.

    Args:
        way: What it is to do, a trajectory of one joint.
        now_ns: Time now [ns, ROS clock].

    Returns:
        Position [rad or m], and whether the gripper is to rest there.
    """
    points_ns, positions = way.points_ns, way.positions[:, 0]
    still = np.abs(way.velocities[:, 0]) < STILL
    passed = int(np.searchsorted(points_ns, now_ns, side="right")) - 1
    begin = min(max(passed, 0), len(points_ns) - 2)
    rests = still[begin : begin + 2].all() and abs(positions[begin + 1] - positions[begin]) < STILL
    if rests or now_ns >= way.end_ns:
        return float(positions[begin + 1]), True
    until_ns = now_ns + LOOK_AHEAD_NS
    coming = np.flatnonzero(still & (points_ns > now_ns) & (points_ns <= until_ns))
    if len(coming):
        return float(positions[coming[0]]), True
    return float(way.sample(until_ns)[0][0]), False
