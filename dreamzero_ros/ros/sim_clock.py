# SPDX-License-Identifier: Apache-2.0
"""The clock of a simulated graph: /clock, faster or slower than real time."""

from __future__ import annotations

from rclpy.clock import Clock as NodeClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from dreamzero_ros.ros.messages import time_message
from dreamzero_ros.ros.qos import CLOCK

STEP_NS = 5_000_000
"""Simulated time from one message to the next [ns]."""


class SimClock:
    """Publishes simulated time in equal steps from zero on, for as long as its node lives.

    No step is left out: where the process is late, simulated time passes more slowly.

    Args:
        node: Publishes, and lives by this clock itself.
        rate: Simulated time per real time.

    Raises:
        ValueError: The node does not use simulated time.
    """

    def __init__(self, node: Node, rate: float) -> None:
        if not node.get_parameter("use_sim_time").value:
            raise ValueError(
                f"parameter clock_rate: {rate:g} publishes simulated time, but the node itself lives by real "
                "time: set use_sim_time:=true on this node and on every other"
            )
        self._now_ns = 0
        self._publisher = node.create_publisher(Clock, "/clock", CLOCK)
        node.create_timer(
            STEP_NS * 1e-9 / rate, self._advance, clock=NodeClock(clock_type=ClockType.STEADY_TIME)
        )

    def _advance(self) -> None:
        self._now_ns += STEP_NS
        self._publisher.publish(Clock(clock=time_message(self._now_ns)))
