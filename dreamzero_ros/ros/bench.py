# SPDX-License-Identifier: Apache-2.0
"""Times the loop, what ROS adds to it (the messages of a chunk, the status of the policy node), and reports.

Ends in one line of JSON for scripts.
"""

from __future__ import annotations

import os
import time

import numpy as np
import rclpy
from rclpy.node import Node

from dreamzero_ros.bench import loop
from dreamzero_ros.evaluation import bench as evaluation_bench
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.isolation import graph_environment, reserved_domain
from dreamzero_ros.ros.messages import trajectory_message
from dreamzero_ros.ros.policy_node import STATUS_PERIOD_S, PolicyNode
from dreamzero_ros.ros.qos import REPORT
from dreamzero_ros.ros.side_node import SideNode

POINTS, JOINTS = 85, 22
"""Of the trajectory of a chunk of 24 targets at 15 Hz."""
REPEATS, WARM_UP = 300, 30


def main() -> None:
    """Console entry."""
    results = loop.measure()
    ros = {"trajectory_message": measure_message(), "status": measure_status()}
    print(f"{'ROS, CPU time of the thread of the node [ms]':<60}")
    print(_row(f"a trajectory message of {POINTS} points of {JOINTS} joints", ros["trajectory_message"]))
    print(_row("status, heard by one subscriber", ros["status"]))
    share = ros["status"]["share_of_a_core"]
    print(f"  status at {1 / STATUS_PERIOD_S:.0f} Hz takes {100 * share:.2f} % of a core")
    evaluation = evaluation_bench.measure()
    evaluation_bench.print_table(evaluation)
    loop.print_json(results | {"ros": ros, "evaluation": evaluation})


def measure_message() -> dict[str, float]:
    """Median and 99th percentile of making the message of a trajectory [ms]."""
    rng = np.random.default_rng(0)
    joints = tuple(f"joint{j}" for j in range(JOINTS))
    positions, velocities = rng.standard_normal((2, POINTS, JOINTS))
    trajectory = Trajectory(0, joints, 0.02 * np.arange(POINTS), positions, velocities)
    return _timed(lambda: trajectory_message(trajectory, joints))


def measure_status() -> dict[str, float]:
    """Median and 99th percentile of a status of an active node [ms], and what its rate takes of a core."""
    with reserved_domain() as domain:
        os.environ.update(graph_environment(domain, os.environ.get("ROS_LOG_DIR", "")))
        return _measure_status()


def _measure_status() -> dict[str, float]:
    words = ["-p", "policy:=hold", "-p", "dry_run:=true"]
    rclpy.init(args=["--ros-args", "--log-level", "warn", *words])
    node = PolicyNode()
    node.trigger_configure()
    node.trigger_activate()
    listener = _listener(node)
    try:
        figures = _timed(node.publish_status)
    finally:
        listener.close()
        node.trigger_deactivate()
        node.trigger_shutdown()
        node.destroy_node()
        rclpy.shutdown()
    return figures | {"share_of_a_core": round(figures["median_ms"] * 1e-3 / STATUS_PERIOD_S, 5)}


def _listener(node: Node) -> SideNode:
    listener = SideNode(node, "listener")
    topic = listener.topic("~/status")
    listener.create_subscription(PolicyStatus, topic, lambda status: None, REPORT)
    listener.start()
    while not node.count_subscribers(topic):
        time.sleep(0.01)
    return listener


def _timed(work) -> dict[str, float]:
    taken_ms = []
    for _ in range(WARM_UP + REPEATS):
        begin = time.thread_time()
        work()
        taken_ms.append(1e3 * (time.thread_time() - begin))
    median, p99 = np.percentile(taken_ms[WARM_UP:], [50, 99])
    return {"median_ms": round(float(median), 3), "p99_ms": round(float(p99), 3)}


def _row(name: str, figures: dict[str, float]) -> str:
    return f"  {name:<58}{figures['median_ms']:10.3f}{figures['p99_ms']:10.3f}"


if __name__ == "__main__":
    main()
