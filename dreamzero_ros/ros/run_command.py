# SPDX-License-Identifier: Apache-2.0
"""Starts a run from a terminal and says what happens: `ros2 run dreamzero_ros run "put down the cup"`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.utilities import remove_ros_args

from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import duration_message
from dreamzero_ros.ros.qos import REPORT
from dreamzero_ros.ros.status import NAMES

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of shells."""
EXIT_CODES = {
    RunPolicy.Result.SUCCEEDED: 0,
    RunPolicy.Result.IDLE: 0,
    RunPolicy.Result.CANCELED: INTERRUPTED,
    RunPolicy.Result.PREEMPTED: 1,
    RunPolicy.Result.FAULT: 1,
}
NUMBER = re.compile(r"\b\d+\b")


class RunClient(Node):
    """Prints every change of state or reason of a policy node, and holds the client of its run action.

    Other numbers in the same words are no change: an age that grows would fill the terminal.

    Args:
        policy_node: Name of the policy node, relative to the namespace.
    """

    def __init__(self, policy_node: str) -> None:
        super().__init__("run_policy")
        self.action = ActionClient(self, RunPolicy, f"{policy_node}/run")
        self._said = ""
        self._active = False
        self.create_subscription(PolicyStatus, f"{policy_node}/status", self._take, REPORT)

    @property
    def ready(self) -> bool:
        """Whether the policy node takes goals."""
        return self._active and self.action.server_is_ready()

    def _take(self, status: PolicyStatus) -> None:
        self._active = status.state != PolicyStatus.INACTIVE
        name, text = NAMES[status.state], status.reason
        if not text.startswith(name):
            text = f"{name}: {text}" if text else name
        said = NUMBER.sub("", text)
        if said != self._said:
            print(f"[{status.chunks} chunks] {text}", flush=True)
        self._said = said


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry."""
    words = remove_ros_args(sys.argv if arguments is None else ["run", *arguments])[1:]
    options = _options(words)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    client = RunClient(options.node)
    executor = SingleThreadedExecutor()
    executor.add_node(client)
    try:
        code = _run(client, executor, options)
    finally:
        executor.shutdown()
        client.destroy_node()
        rclpy.try_shutdown()
    sys.exit(code)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run",
        description="Lets the policy move the arm until the time limit or Ctrl-C; says why it does not move.",
        epilog="Exit codes: 0 time limit reached or arm idle, 1 fault or newer goal, 130 canceled by Ctrl-C.",
    )
    parser.add_argument("instruction", help="what the arm is to do, in words")
    parser.add_argument("--time-limit", type=float, default=0.0, help="seconds; 0, the default, is no limit")
    parser.add_argument(
        "--idle-time",
        type=float,
        default=0.0,
        help="end the run when the arm has not moved for so many seconds",
    )
    parser.add_argument(
        "--from-start-pose", action="store_true", help="move gently to the start pose of the robot file first"
    )
    parser.add_argument("--node", default="policy_node", help="name of the policy node (default policy_node)")
    options = parser.parse_args(words)
    if not options.instruction.strip():
        parser.error("instruction: it is empty; say in words what the arm is to do")
    for name in ("time_limit", "idle_time"):
        seconds = getattr(options, name)
        if seconds < 0:
            parser.error(f"--{name.replace('_', '-')}: got {seconds}, expected 0 or more")
    return options


def _run(client: RunClient, executor: SingleThreadedExecutor, options: argparse.Namespace) -> int:
    goal = RunPolicy.Goal(
        instruction=options.instruction,
        time_limit=duration_message(options.time_limit),
        idle_time=duration_message(options.idle_time),
        from_start_pose=options.from_start_pose,
    )
    print(f"waiting for {options.node}", flush=True)
    try:
        while not client.ready:
            executor.spin_once(timeout_sec=0.2)
        handle = _wait(executor, client.action.send_goal_async(goal))
    except KeyboardInterrupt:
        return INTERRUPTED
    ended = handle.get_result_async()
    try:
        result = _wait(executor, ended).result
    except KeyboardInterrupt:
        handle.cancel_goal_async()
        result = _wait(executor, ended).result
    print(f"run ended: {result.reason}; {result.chunks} chunks, {result.deadline_misses} late", flush=True)
    return EXIT_CODES[result.outcome]


def _wait(executor: SingleThreadedExecutor, future: Future):
    while not future.done():
        executor.spin_once(timeout_sec=0.2)
    return future.result()


if __name__ == "__main__":
    main()
