# SPDX-License-Identifier: Apache-2.0
"""Who else commands the controllers: goals of their actions that are not ours, such as MoveIt's."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import numpy as np
from action_msgs.msg import GoalInfo, GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

from dreamzero_ros.embodiment.schema import Controller, Embodiment
from dreamzero_ros.ros.qos import LATCHED

ACTIONS = {"joint_trajectory": "follow_joint_trajectory", "gripper_command": "gripper_cmd"}
"""Name of the action below that of the controller, by its type."""
ACTIVE = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)
"""What a goal that may move the robot is."""
LOOK_PERIOD_S = 0.5
"""Time between two looks at whether the action servers are still there [s]."""
SETTLE_S = 1.0
"""The publisher of a status is found in the ROS graph this long after it, at the latest [s]."""


class GoalWatch:
    """Follows the status of every controller's action; works on the thread of the node.

    The status is what ``ros2 action`` goes by too: it tells goals of all clients. An action server that is
    gone commands nothing any more, whatever its last status said.

    Args:
        node: Its namespace holds for the controllers.
        embodiment: Names the controllers.
        own_goals: Ids of the goals that are ours, those just sent included. A goal that was ours once stays
            ours until the server forgets it.
        on_change: Called when `foreign` has changed.
    """

    def __init__(
        self,
        node: Node,
        embodiment: Embodiment,
        own_goals: Callable[[], Collection[bytes]],
        on_change: Callable[[], None],
    ) -> None:
        self._node = node
        self._on_change = on_change
        self._said: tuple[str, ...] = ()
        self._actions = [
            _Action(node, controller, own_goals, self._tell) for controller in embodiment.controllers
        ]
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        self._timer = node.create_timer(LOOK_PERIOD_S, self._look, clock=steady)

    def foreign(self) -> tuple[str, ...]:
        """Names of the controllers that somebody else commands, as in the robot file; () when none."""
        return tuple(action.controller for action in self._actions if action.foreign)

    def preempt(self) -> None:
        """Asks the controllers to cancel the goals of others; `foreign` changes when they have done so."""
        for action in self._actions:
            action.preempt()

    def close(self) -> None:
        """Ends watching."""
        self._node.destroy_timer(self._timer)
        for action in self._actions:
            action.close()

    def _look(self) -> None:
        for action in self._actions:
            action.forget_the_dead()
        self._tell()

    def _tell(self) -> None:
        foreign = self.foreign()
        if foreign != self._said:
            self._said = foreign
            self._on_change()


class _Action:
    """The goals of one controller."""

    def __init__(
        self,
        node: Node,
        controller: Controller,
        own_goals: Callable[[], Collection[bytes]],
        on_status: Callable[[], None],
    ) -> None:
        self.controller = controller.name
        self.foreign: frozenset[bytes] = frozenset()
        """Ids of the active goals of others."""
        self._node = node
        self._own_goals = own_goals
        self._on_status = on_status
        self._ours: frozenset[bytes] = frozenset()
        self._servers: set[bytes] = set()
        self._told_s = 0.0
        name = f"{controller.name}/{ACTIONS[controller.type]}/_action"
        self._status = node.create_subscription(GoalStatusArray, f"{name}/status", self._take, LATCHED)
        self._cancel = node.create_client(CancelGoal, f"{name}/cancel_goal")

    def preempt(self) -> None:
        """Cancels the active goals of others, one by one: ours go on."""
        for goal_id in self.foreign:
            goal = GoalInfo(goal_id=UUID(uuid=np.frombuffer(goal_id, np.uint8)))
            self._cancel.call_async(CancelGoal.Request(goal_info=goal)).add_done_callback(self._take_answer)

    def forget_the_dead(self) -> None:
        """Drops what a server said of which nothing is left in the graph."""
        present = self._publishers()
        if time.monotonic() < self._told_s + SETTLE_S:
            self._servers |= present
        elif not self._servers & present:
            self.foreign = frozenset()

    def close(self) -> None:
        """Ends subscription and client."""
        self._node.destroy_subscription(self._status)
        self._node.destroy_client(self._cancel)

    def _take(self, message: GoalStatusArray) -> None:
        known = {bytes(entry.goal_info.goal_id.uuid): entry.status for entry in message.status_list}
        self._ours = frozenset(known) & (self._ours | frozenset(self._own_goals()))
        active = frozenset(goal_id for goal_id, status in known.items() if status in ACTIVE)
        self.foreign = active - self._ours
        self._servers = self._publishers()
        self._told_s = time.monotonic()
        self._on_status()

    def _take_answer(self, future: Future) -> None:
        answer = future.result()
        if answer.return_code == CancelGoal.Response.ERROR_REJECTED:
            self._node.get_logger().warning(f"{self.controller} refuses to cancel the goal of somebody else")

    def _publishers(self) -> set[bytes]:
        infos = self._node.get_publishers_info_by_topic(self._status.topic_name)
        return {bytes(info.endpoint_gid) for info in infos}
