# SPDX-License-Identifier: Apache-2.0
"""Looks whether everything is ready for a run: `ros2 run dreamzero_ros check`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rich.console import Console

from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.rows import WIDTH, Report
from dreamzero_ros.ros.check.simulation import simulation
from dreamzero_ros.ros.parameters import declare

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes; 0 says that nothing failed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    words = sys.argv if arguments is None else ["check", *arguments]
    options = _options(remove_ros_args(words)[1:])
    console = Console(width=WIDTH, highlight=False, quiet=options.json)
    report = Report(console)
    try:
        with ExitStack() as stack:
            robot = stack.enter_context(simulation()) if options.sim else None
            node, parameters = _stand_in(words, options.node, stack)
            from dreamzero_ros.ros.check.preflight import Preflight  # takes seconds, as the model does

            Preflight(node, parameters, report, console, options.seconds).run(robot, not options.no_policy)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if options.json:
        print(report.json())
    report.conclude()
    sys.exit(0 if report.ok else FAILED)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check",
        description="Looks whether everything is ready for a run: robot file, checkpoint, GPU memory, "
        "cameras, joint states, limits, controllers, and the latency of ten chunks that nobody executes. "
        "Nothing moves. Every failure says what to do about it.",
        epilog="It stands in for the policy node and takes its ROS arguments: check --ros-args --params-file "
        "config/policy_node.yaml -p embodiment:=droid_franka -p checkpoint:=<folder> -r "
        "joint_states:=/franka/joint_states. Exit codes: 0 nothing failed, 1 something failed, 2 wrong "
        "usage, 130 Ctrl-C.",
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to listen (default 4)")
    parser.add_argument("--no-policy", action="store_true", help="do not load the policy: no latency")
    parser.add_argument(
        "--sim",
        action="store_true",
        help="check a simulated robot and the tiny, untrained model, in a ROS domain of its own: a first try",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--node", default="policy_node", help="name of the policy node (default policy_node)")
    options = parser.parse_args(words)
    if not 1 <= options.seconds <= 600:
        parser.error(f"--seconds: got {options.seconds:g}, expected 1 to 600")
    return options


def _stand_in(words: Sequence[str], name: str, stack: ExitStack) -> tuple[Node, PolicyParameters]:
    """A node with the name of the policy node, so that its parameters, namespace and remappings hold."""
    try:
        rclpy.init(args=list(words), signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.try_shutdown)
        node = Node(name, start_parameter_services=False, enable_rosout=False)
        stack.callback(node.destroy_node)
        return node, declare(node, PolicyParameters)
    except (ParameterException, ValueError, RuntimeError) as error:
        print(f"check: {error}", file=sys.stderr)
        sys.exit(WRONG_USAGE)


if __name__ == "__main__":
    main()
