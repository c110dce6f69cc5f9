# SPDX-License-Identifier: Apache-2.0
"""The run action: one goal at a time, each with its end in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import duration_ns

Result = RunPolicy.Result


@dataclass
class _Run:
    handle: ServerGoalHandle
    ended: Future
    until_ns: int | None
    """When the time limit is reached [ns, ROS clock]; None without one."""


class RunAction:
    """Serves `~/run`: starts a run per goal, and ends it by time limit, cancel, a newer goal or a fault.

    Args:
        node: Serves the action.
        begin: Begins a run with an instruction; raises ValueError with the reason when it cannot.
        end: Ends the run for a reason.
        fill: Writes the run's counters into a result.
    """

    def __init__(
        self,
        node: Node,
        begin: Callable[[str], None],
        end: Callable[[str], None],
        fill: Callable[[Result], None],
    ) -> None:
        self._node = node
        self._begin = begin
        self._end = end
        self._fill = fill
        self._run: _Run | None = None
        self._server = ActionServer(
            node, RunPolicy, "~/run", self._execute, cancel_callback=lambda _: CancelResponse.ACCEPT
        )

    @property
    def active(self) -> bool:
        """Whether a goal is being executed."""
        return self._run is not None

    def watch(self, now_ns: int) -> None:
        """Ends the run when its client canceled it or its time is over; to be called often."""
        run = self._run
        if run is None:
            return
        if run.handle.is_cancel_requested:
            self.finish(Result.CANCELED, "canceled by the client")
        elif run.until_ns is not None and now_ns >= run.until_ns:
            self.finish(Result.SUCCEEDED, "the time limit was reached")

    def finish(self, outcome: int, reason: str) -> None:
        """Ends the run with an outcome of RunPolicy.Result; does nothing without a run."""
        run, self._run = self._run, None
        if run is None:
            return
        result = Result(outcome=outcome, reason=reason)
        self._fill(result)
        self._end(reason)
        run.ended.set_result(result)

    def publish_feedback(self, status: PolicyStatus) -> None:
        """Sends the status to the client of the run."""
        if self._run is not None:
            self._run.handle.publish_feedback(RunPolicy.Feedback(status=status))

    def close(self) -> None:
        """Ends the server."""
        self._server.destroy()

    async def _execute(self, handle: ServerGoalHandle) -> Result:
        self.finish(Result.PREEMPTED, "a newer goal took over")
        goal = handle.request
        try:
            self._begin(goal.instruction)
        except ValueError as error:
            handle.abort()
            return Result(outcome=Result.FAULT, reason=str(error))
        limit_ns = duration_ns(goal.time_limit)
        now_ns = self._node.get_clock().now().nanoseconds
        self._run = _Run(handle, Future(), now_ns + limit_ns if limit_ns else None)
        result = await self._run.ended
        if result.outcome == Result.SUCCEEDED:
            handle.succeed()
        elif result.outcome == Result.CANCELED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result
