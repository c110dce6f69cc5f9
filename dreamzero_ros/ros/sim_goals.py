# SPDX-License-Identifier: Apache-2.0
"""The action server of a simulated controller: one goal at a time, and a newer one ends the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from dreamzero_ros.ros.lifecycle import ManagedNode
from dreamzero_ros.sim.controller import TrajectoryRejectedError

End = Literal["succeed", "abort", "canceled"]
"""How a goal ends; canceled only after the request."""
RESULT_TIMEOUT_S = 10
"""For so long a result can be asked for, as of servers in C++ [s]."""


@dataclass
class ControllerFaults:
    """What may be made to go wrong."""

    reject_goals: bool = False
    """Every goal is rejected."""
    path_tolerance: float = np.inf
    """A trajectory is given up when a joint is further from its setpoint [rad or m]."""


class GoalServer:
    """Takes goals while its node is active.

    Args:
        node: Serves.
        kind: Type of the action.
        name: Name of the action.
        begin: Called with every goal; raises TrajectoryRejectedError, in words, when it is not taken.
        replaced: Result of a goal that a newer one aborts.
        faults: Looked at whenever it matters.
    """

    def __init__(
        self,
        node: ManagedNode,
        kind: Any,
        name: str,
        begin: Callable[[Any], None],
        replaced: Any,
        faults: ControllerFaults,
    ) -> None:
        self._node = node
        self._begin = begin
        self._replaced = replaced
        self._faults = faults
        self._active: tuple[ServerGoalHandle, Future] | None = None
        self._server = ActionServer(
            node,
            kind,
            name,
            self._execute,
            goal_callback=self._judge,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            result_timeout=RESULT_TIMEOUT_S,
        )

    @property
    def active(self) -> bool:
        """Whether there is a goal."""
        return self._active is not None

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants the goal to end."""
        return self._active is not None and self._active[0].is_cancel_requested

    def end(self, end: End, result: Any) -> None:
        """Ends the goal, if there is one."""
        active, self._active = self._active, None
        if active is not None:
            active[1].set_result((end, result))

    def close(self) -> None:
        """Ends serving."""
        self._server.destroy()

    def _judge(self, goal: Any) -> GoalResponse:
        log = self._node.get_logger()
        if not self._node.active:
            log.error("Can't accept new action goals. Controller is not running.")
            return GoalResponse.REJECT
        if self._faults.reject_goals:
            log.error("goal rejected: reject_goals is set")
            return GoalResponse.REJECT
        try:
            self._begin(goal)
        except TrajectoryRejectedError as error:
            log.error(f"goal rejected: {error}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Any:
        self.end("abort", self._replaced)
        ended = Future()
        self._active = handle, ended
        end, result = await ended
        if handle.is_cancel_requested:
            end = "canceled"
        getattr(handle, end)()
        return result
