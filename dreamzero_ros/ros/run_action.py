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
from dreamzero_ros.ros.messages import NS_PER_S, duration_ns

Result = RunPolicy.Result


@dataclass(frozen=True)
class Runner:
    """What runs are made of."""

    begin: Callable[[RunPolicy.Goal], None]
    """Begins a run; raises ValueError with the reason when it cannot."""
    end: Callable[[str], None]
    """Ends the run for a reason."""
    fill: Callable[[Result], None]
    """Writes the run's counters into a result."""
    idle_s: Callable[[], float]
    """For how long the arm has followed chunks without moving [s]."""


@dataclass
class _Run:
    runner: Runner
    handle: ServerGoalHandle
    ended: Future
    until_ns: int | None
    """When the time limit is reached [ns, ROS clock]; None without one."""
    idle_s: float
    """For how long the arm may stay without moving [s]; 0: forever."""


class RunAction:
    """Serves `~/run`: a run per goal, ended by time limit, idleness, cancel, a newer goal or a fault.

    It lives as long as its node, so that a goal is answered in every state, and a result still goes
    out after the work has ended.

    Args:
        node: Serves the action.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._runner: Runner | None = None
        self._run: _Run | None = None
        ActionServer(node, RunPolicy, "~/run", self._execute, cancel_callback=lambda _: CancelResponse.ACCEPT)

    def serve(self, runner: Runner | None) -> None:
        """Goals go to the runner from now on; without one they are refused."""
        self._runner = runner

    def watch(self, now_ns: int) -> None:
        """Ends the run when it was canceled, its time is over or the arm idles; to be called often."""
        run = self._run
        if run is None:
            return
        if run.handle.is_cancel_requested:
            self.finish(Result.CANCELED, "canceled by the client")
        elif run.until_ns is not None and now_ns >= run.until_ns:
            self.finish(Result.SUCCEEDED, "the time limit was reached")
        elif 0 < run.idle_s <= run.runner.idle_s():
            self.finish(Result.IDLE, f"the arm has not moved for {run.idle_s:g} s")

    def finish(self, outcome: int, reason: str) -> None:
        """Ends the run with an outcome of RunPolicy.Result; does nothing without a run."""
        run, self._run = self._run, None
        if run is None:
            return
        result = Result(outcome=outcome, reason=reason)
        run.runner.fill(result)
        run.runner.end(reason)
        run.ended.set_result(result)

    def publish_feedback(self, status: PolicyStatus) -> None:
        """Sends the status to the client of the run."""
        if self._run is not None:
            self._run.handle.publish_feedback(RunPolicy.Feedback(status=status))

    async def _execute(self, handle: ServerGoalHandle) -> Result:
        self.finish(Result.PREEMPTED, "a newer goal took over")
        goal, runner = handle.request, self._runner
        try:
            if runner is None:
                raise ValueError("the node is not configured: configure and activate it first")
            runner.begin(goal)
        except ValueError as error:
            handle.abort()
            return Result(outcome=Result.FAULT, reason=str(error))
        limit_ns = duration_ns(goal.time_limit)
        until_ns = self._node.get_clock().now().nanoseconds + limit_ns if limit_ns else None
        self._run = _Run(runner, handle, Future(), until_ns, duration_ns(goal.idle_time) / NS_PER_S)
        result = await self._run.ended
        if result.outcome in (Result.SUCCEEDED, Result.IDLE):
            handle.succeed()
        elif result.outcome == Result.CANCELED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result
