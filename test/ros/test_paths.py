# SPDX-License-Identifier: Apache-2.0
"""Paths of end effectors over DDS: where the simulation draws the arm, and words where there is no path."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from nav_msgs.msg import Path
from rclpy.node import Node
from ros_graph import Graph

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.kinematics.chain import KinematicsError, quaternions
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.paths import MOST_STEPS, STEP_S, EndEffectorPaths
from dreamzero_ros.ros.qos import REPORT
from dreamzero_ros.sim.description import ROOT, describe
from dreamzero_ros.sim.kinematics import arms_of

pytestmark = pytest.mark.ros

ROBOT = load("agibot_g1")
START_NS = 1_700_000_000_123_456_789
NS_PER_S = 1_000_000_000


@pytest.fixture(autouse=True)
def _pinocchio() -> None:
    pytest.importorskip("pinocchio", reason="pinocchio is not installed: requirements/kinematics.txt")


@pytest.fixture
def node(graph: Graph) -> Iterator[Node]:
    made = Node("planner", context=graph.context, namespace="cell")
    graph.executor.add_node(made)
    yield made
    graph.executor.remove_node(made)
    made.destroy_node()


def motion(robot: Embodiment, length_s: float = 1.6) -> Trajectory:
    """From the start pose to another one, the columns in reverse order."""
    joints = robot.command_joints[::-1]
    start = np.array([robot.start_pose[joint] for joint in joints])
    lower, upper = (
        np.array([getattr(robot.limits[joint], b) for joint in joints]) for b in ("lower", "upper")
    )
    positions = np.stack([start, np.clip(start + 0.4, lower, upper)])
    return Trajectory(START_NS, joints, np.array([0.0, length_s]), positions, np.zeros_like(positions))


def subscribe(graph: Graph, node: Node, paths: EndEffectorPaths, *names: str) -> dict[str, list[Path]]:
    """Subscribes to some paths and waits until the publishers know."""
    received: dict[str, list[Path]] = {name: [] for name in names}
    topics = {name: f"/cell/planner/end_effector/{name}/path" for name in names}
    for name, topic in topics.items():
        node.create_subscription(Path, topic, received[name].append, REPORT)
    graph.wait(lambda: all(node.count_publishers(topic) for topic in topics.values()), "publishers")

    def all_arrived() -> bool:
        paths.publish(motion(ROBOT))
        return all(received.values())

    graph.wait(all_arrived, "a path each")
    graph.spend(0.3)
    for messages in received.values():
        messages.clear()
    return received


def test_both_hands_go_where_the_simulation_puts_them(graph: Graph, node: Node) -> None:
    paths = EndEffectorPaths(node, ROBOT, describe(ROBOT))
    received = subscribe(graph, node, paths, "left", "right")
    trajectory = motion(ROBOT)
    paths.publish(trajectory)
    graph.wait(lambda: all(received.values()), "a path each")
    for (path,), arm in zip(received.values(), arms_of(ROBOT), strict=True):
        assert path.header.frame_id == ROOT
        assert stamp_ns(path) == START_NS
        times_ns = [stamp_ns(pose) for pose in path.poses]
        assert (times_ns[0], times_ns[-1]) == (trajectory.start_ns, trajectory.end_ns)
        assert np.diff(times_ns).max() <= STEP_S * NS_PER_S
        for at_ns, stamped in zip(times_ns, path.poses, strict=True):
            named = dict.fromkeys(ROBOT.state_joints, 0.0)
            drawn = arm.pose(named | dict(zip(trajectory.joints, trajectory.sample(at_ns)[0], strict=True)))
            at, turn = stamped.pose.position, stamped.pose.orientation
            assert stamped.header.frame_id == ROOT
            np.testing.assert_allclose((at.x, at.y, at.z), drawn.points[-1], atol=1e-9)
            np.testing.assert_allclose((turn.x, turn.y, turn.z, turn.w), quaternions(drawn.hand), atol=1e-7)
    paths.close()


def test_only_what_somebody_looks_at_is_computed(graph: Graph, node: Node) -> None:
    """A trajectory without the right arm can only be published as long as its path is not computed."""
    paths = EndEffectorPaths(node, ROBOT, describe(ROBOT))
    whole = motion(ROBOT)
    left = [index for index, joint in enumerate(whole.joints) if "_r_" not in joint]
    names = tuple(whole.joints[index] for index in left)
    half = dataclasses.replace(
        whole, joints=names, positions=whole.positions[:, left], velocities=whole.velocities[:, left]
    )
    received = subscribe(graph, node, paths, "left")
    paths.publish(half)
    graph.wait(lambda: received["left"], "the left path")
    subscribe(graph, node, paths, "right")
    with pytest.raises(KinematicsError, match="expected positions of"):
        paths.publish(half)
    paths.close()


def test_a_long_way_has_no_more_poses(graph: Graph, node: Node) -> None:
    paths = EndEffectorPaths(node, ROBOT, describe(ROBOT))
    received = subscribe(graph, node, paths, "left")
    paths.publish(motion(ROBOT, length_s=60.0))
    graph.wait(lambda: received["left"], "the left path")
    (path,) = received["left"]
    assert len(path.poses) == MOST_STEPS + 1
    paths.close()


def test_links_that_are_not_there_are_told_and_left_out(
    graph: Graph, node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = dataclasses.replace(ROBOT, end_effectors={"tool": "tool_link", "left": "idx27_arm_l_joint7"})
    EndEffectorPaths(node, robot, describe(ROBOT)).close()
    told = [line for line in capfd.readouterr().err.splitlines() if "end effector" in line]
    assert len(told) == 1
    assert "no path of end effector 'tool': tip: expected a link or joint of robot_description" in told[0]


def test_joints_that_nobody_commands_are_told(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    robot = dataclasses.replace(ROBOT, action=ROBOT.action[:1])
    EndEffectorPaths(node, robot, describe(ROBOT)).close()
    told = [line for line in capfd.readouterr().err.splitlines() if "end effector" in line]
    assert len(told) == 1
    assert "'right': idx61_arm_r_joint1" in told[0]
    assert "the robot file does not command them" in told[0]


def test_without_pinocchio_one_line_says_what_to_install(
    node: Node, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    paths = EndEffectorPaths(node, ROBOT, describe(ROBOT))
    paths.publish(motion(ROBOT))
    paths.close()
    told = [line for line in capfd.readouterr().err.splitlines() if "end effector" in line]
    assert len(told) == 1
    assert "pip install -r requirements/kinematics.txt" in told[0]


def test_what_two_paths_cost(graph: Graph, node: Node, figures: Callable[[str, float], None]) -> None:
    paths = EndEffectorPaths(node, ROBOT, describe(ROBOT))
    subscribe(graph, node, paths, "left", "right")
    trajectory, durations = motion(ROBOT), []
    for _ in range(50):
        begin = time.perf_counter()
        paths.publish(trajectory)
        durations.append(time.perf_counter() - begin)
    figures("planned paths of two end effectors, 1.6 s, median [ms]", 1e3 * float(np.median(durations)))
    paths.close()
