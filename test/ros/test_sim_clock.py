# SPDX-License-Identifier: Apache-2.0
"""The simulation as the clock of its graph."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rclpy.node import Node
from ros_graph import Graph
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.messages import NS_PER_S
from dreamzero_ros.ros.qos import CLOCK, SENSOR
from dreamzero_ros.ros.sim_clock import STEP_NS
from dreamzero_ros.ros.sim_node import SimParameters

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
RATE = 0.25
"""Slower than real time, so that a busy machine keeps up."""
SEEN_S = 0.5
"""Simulated time that is watched [s]."""


def test_time_passes_in_equal_steps_at_most_at_the_rate_and_everything_is_stamped_with_it(
    graph: Graph,
) -> None:
    graph.start("sim_node", use_sim_time=True, clock_rate=RATE, autostart=True, image_scale=0.2)
    node = Node("listener", context=graph.context)
    seen: list[tuple[float, int]] = []
    stamps: dict[str, list[int]] = {"joint_states": [], ROBOT.cameras[0].topic: []}

    def tick(message: Clock) -> None:
        seen.append((time.monotonic(), message.clock.sec * NS_PER_S + message.clock.nanosec))

    node.create_subscription(Clock, "/clock", tick, CLOCK)
    for (topic, found), kind in zip(stamps.items(), (JointState, Image), strict=True):
        node.create_subscription(
            kind, topic, lambda message, found=found: found.append(stamp_ns(message)), SENSOR
        )
    graph.executor.add_node(node)
    graph.wait(
        lambda: all(stamps.values()) and seen[-1][1] - seen[0][1] > SEEN_S * NS_PER_S, "simulated time"
    )

    real_s, simulated_ns = np.array([at for at, _ in seen]), np.array([now_ns for _, now_ns in seen])
    assert (np.diff(simulated_ns) % STEP_NS == 0).all() and (np.diff(simulated_ns) > 0).all()
    assert (simulated_ns[-1] - simulated_ns[0]) / NS_PER_S < 1.5 * RATE * (real_s[-1] - real_s[0])
    assert simulated_ns[-1] < 100 * NS_PER_S, "simulated time begins at zero"
    rates_hz = (SimParameters().joint_state_rate_hz, SimParameters().camera_rate_hz)
    for found, rate_hz in zip(stamps.values(), rates_hz, strict=True):
        assert len(found) > 3 and found[-1] <= simulated_ns[-1] + STEP_NS
        assert all(now_ns % STEP_NS == 0 for now_ns in found)
        assert np.median(np.diff(found)) == pytest.approx(NS_PER_S / rate_hz, abs=2 * STEP_NS)


def test_a_simulation_that_lives_by_real_time_is_no_clock(graph: Graph) -> None:
    graph.start("sim_node", name="other", clock_rate=RATE)
    with pytest.raises(AssertionError, match=r"clock_rate: 0\.25.*use_sim_time:=true"):
        graph.wait(lambda: False, "the end of the simulation")
