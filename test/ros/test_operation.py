# SPDX-License-Identifier: Apache-2.0
"""What an operator does beside start and stop: start pose, idleness, live parameters, a description."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from robot import Robot
from ros_graph import Graph, Operator
from std_msgs.msg import String

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy
from dreamzero_ros.sim.description import describe

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
HOME = np.array([ROBOT.start_pose[joint] for joint in ROBOT.command_joints])
INSTRUCTION = "wave"
SLOW = 0.05
"""Velocity limit that a description brings for every joint of the arm [rad/s]."""
VOLATILE = 10
"""Depth of a quality of service that is otherwise rclpy's default: reliable and volatile."""


@pytest.fixture(scope="module")
def wave(paced: Graph) -> Iterator[Operator]:
    """A simulated robot that `wave` moves, and the operator of its policy node."""
    paced.start("sim_node", autostart=True, cameras=False, publish_description=False)
    paced.start("policy_node", autostart=True, policy="wave", approach_speed=0.5)
    paced.start("policy_node", "-r", "__node:=keeper", name="keeper", autostart=True, policy="hold")
    operator = Operator(paced, ROBOT)
    with Robot(paced, ROBOT, cameras_only=True):
        paced.wait(
            lambda: operator.ready and operator.recording.measured, "an active policy node and joint states"
        )
        yield operator


def measured(operator: Operator) -> np.ndarray:
    return operator.recording.measured[-1]


def set_parameter(graph: Graph, operator: Operator, name: str, value: object) -> SetParameters.Response:
    client = operator.create_client(SetParameters, "policy_node/set_parameters")
    graph.wait(client.service_is_ready, "parameter service")
    answer = client.call_async(
        SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    )
    graph.wait(answer.done, "answer of the parameter service")
    return answer.result().results[0]


def test_a_run_from_the_start_pose_goes_there_first(paced: Graph, wave: Operator) -> None:
    run = wave.run(INSTRUCTION)
    paced.wait(lambda: np.abs(measured(wave) - HOME).max() > 0.1, "the arm to leave its start pose")
    run.cancel()
    assert run.result().outcome == RunPolicy.Result.CANCELED
    away = np.abs(measured(wave) - HOME).max()

    chunks = len(wave.recording.chunks)
    run = wave.run(INSTRUCTION, from_start_pose=True)
    report = wave.await_report(lambda report: report.state == PolicyStatus.APPROACHING, "APPROACHING")
    assert "start pose" in report.reason
    paced.wait(lambda: wave.reports[-1].state != PolicyStatus.APPROACHING, "the end of the way")
    assert np.abs(measured(wave) - HOME).max() < 0.05 < away
    assert len(wave.recording.chunks) <= chunks + 1, "the policy was asked before the arm was there"
    wave.await_following()
    run.cancel()
    run.result()


def test_a_run_ends_when_the_arm_idles(paced: Graph, wave: Operator) -> None:
    keeper = Operator(paced, ROBOT, policy_node="keeper")
    run = keeper.run("stay", idle_time_s=1)
    result = run.result()
    assert result.outcome == RunPolicy.Result.IDLE and "has not moved for 1 s" in result.reason
    assert keeper.await_report(lambda report: report.state == PolicyStatus.IDLE, "IDLE").chunks > 0


def test_the_speed_changes_in_a_run(paced: Graph, wave: Operator) -> None:
    run = wave.run(INSTRUCTION)
    wave.await_following()
    assert set_parameter(paced, wave, "speed_scale", 0.5).successful
    wave.await_report(lambda report: report.speed_scale == 0.5, "the new speed")
    refused = set_parameter(paced, wave, "speed_scale", 2.0)
    assert not refused.successful and "range" in refused.reason
    chunks = len(wave.recording.chunks)
    paced.wait(lambda: len(wave.recording.chunks) > chunks + 1, "chunks at the new speed")
    chunk = wave.recording.chunks[-1]
    points = chunk.trajectory.points
    length_s = points[-1].time_from_start.sec + points[-1].time_from_start.nanosec * 1e-9
    horizon_s = ROBOT.horizon * ROBOT.dt_s
    assert length_s > 1.5 * horizon_s, "half of the speed takes twice as long"
    run.cancel()
    run.result()
    assert set_parameter(paced, wave, "speed_scale", 1.0).successful


def test_limits_of_a_description_that_comes_later_hold(paced: Graph, wave: Operator) -> None:
    slower = {
        joint: dataclasses.replace(row, velocity=min(row.velocity, SLOW))
        for joint, row in ROBOT.limits.items()
    }
    publisher = wave.create_publisher(String, "robot_description", VOLATILE)
    paced.wait(publisher.get_subscription_count, "the policy node")
    publisher.publish(String(data=describe(dataclasses.replace(ROBOT, limits=slower))))
    paced.wait(lambda: "robot_description" in paced.log("policy_node"), "the differences in the log")
    run = wave.run(INSTRUCTION)
    wave.await_following()
    paced.wait(lambda: len(wave.recording.chunks) > 2, "chunks")
    first = len(wave.recording.commands)
    paced.spend(2.0)
    for trajectories in wave.trajectories(first).values():
        for trajectory in trajectories:
            assert (trajectory.extremes().velocity <= SLOW + 1e-6).all()

    other = describe(ROBOT).replace(f'lower="{ROBOT.limits["panda_joint4"].lower}"', 'lower="-0.5"', 1)
    assert other != describe(ROBOT)
    publisher.publish(String(data=other))
    report = wave.await_report(lambda report: report.state == PolicyStatus.STOPPED, "STOPPED")
    assert "panda_joint4" in report.reason
    assert not wave.reset().success
    publisher.publish(String(data=describe(ROBOT)))
    paced.wait(lambda: wave.reset().success, "a description that fits to unlock")
    wave.await_following()
    run.cancel()
    run.result()
