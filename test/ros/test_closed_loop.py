# SPDX-License-Identifier: Apache-2.0
"""Each robot in closed loop over DDS, judged by its messages as loops on a made-up clock are.

By default each robot runs for six seconds at another latency; `make test-all` runs each for a minute at
every latency.
"""

from __future__ import annotations

import numpy as np
import pytest
from closed_loop import STATUS_NS, Answered, ClosedLoopTests, Loop, Report, cases
from robot import Robot
from ros_graph import Graph, Operator

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.interfaces import Chunk, PolicyStatus, RunPolicy
from dreamzero_ros.ros.messages import trajectory_of
from dreamzero_ros.ros.status import CODES

pytestmark = pytest.mark.ros

SHORT_S, LONG_S = 6, 60
"""Simulated time of a run [s]."""
SHORT = [("droid_franka", 0.1), ("agibot_g1", 0.6), ("yam", 1.2)]
LOOK_NS = 30_000_000
"""Time passes in steps of 10 ms and the node looks every 20 ms: by then it knows that the arm rests [ns]."""
STATES = {code: state for state, code in CODES.items()}

PARAMETERS = [pytest.param((*case, SHORT_S), id=f"{case[0]}-{case[1]}-short") for case in SHORT] + [
    pytest.param((*case.values[0], LONG_S), id=case.id, marks=case.marks) for case in cases(pytest.mark.slow)
]


@pytest.fixture(scope="module", params=PARAMETERS)
def loop(
    request: pytest.FixtureRequest, _this_machine_only: None, tmp_path_factory: pytest.TempPathFactory
) -> Loop:
    name, share, run_s = request.param
    robot = load(name)
    held_back = {"policy": "wave", "added_latency_s": share * robot.horizon * robot.dt_s}
    both = {"embodiment": name, "autostart": True}
    with (
        Graph(tmp_path_factory.mktemp("graph"), simulated_time=True) as graph,
        Robot(graph, robot, cameras_only=True),
    ):
        graph.start("sim_node", cameras=False, **both)
        graph.start("policy_node", **held_back, **both)
        operator = Operator(graph, robot)
        graph.wait(lambda: operator.ready and operator.recording.measured, "an active policy node")
        run = operator.run("wave", time_limit_s=run_s)
        graph.spend(run_s)
        result = run.result()
        graph.spend(1)
        assert graph.processes.stop() == {"sim_node": 0, "policy_node": 0}
    assert result.outcome == RunPolicy.Result.SUCCEEDED, result.reason
    running = [stamp_ns(report) for report in operator.reports if report.instruction]
    assert running[-1] - running[0] == pytest.approx(run_s * 1e9, abs=3 * STATUS_NS), "the time limit"
    assert [chunk.index for chunk in operator.recording.chunks] == list(range(result.chunks))
    return seen(robot, share, operator, result)


def seen(robot: Embodiment, share: float, operator: Operator, result: RunPolicy.Result) -> Loop:
    commands, recording = merged(robot, operator), operator.recording
    moving = np.array(recording.measured_ns) >= commands[0].start_ns
    return Loop(
        robot,
        share,
        look_ns=LOOK_NS,
        chunks=[answered(chunk) for chunk in recording.chunks],
        commands=commands,
        reports=[
            Report(
                stamp_ns(report), STATES[report.state], report.reason, report.chunks, report.deadline_misses
            )
            for report in operator.reports
            if report.chunks and report.state not in (PolicyStatus.IDLE, PolicyStatus.INACTIVE)
        ],
        measured=np.array(recording.measured)[moving],
        chunks_in_the_end=result.chunks,
        misses_in_the_end=result.deadline_misses,
    )


def answered(chunk: Chunk) -> Answered:
    return Answered(
        stamp_ns(chunk),
        chunk.latency_s,
        chunk.used,
        chunk.dropped,
        np.reshape(chunk.targets, (-1, len(chunk.joint_names))),
        trajectory_of(chunk.trajectory),
    )


def merged(robot: Embodiment, operator: Operator) -> list[Trajectory]:
    """The shares of the controllers put together again; every controller was sent the same times."""
    sent = operator.trajectories()
    shares = [sent[controller.joints] for controller in robot.controllers]
    joints = [joint for controller in robot.controllers for joint in controller.joints]
    columns = [joints.index(joint) for joint in robot.command_joints]
    whole = []
    for parts in zip(*shares, strict=True):
        assert len({part.start_ns for part in parts}) == 1
        for part in parts:
            np.testing.assert_array_equal(part.times_s, parts[0].times_s)
        q, v = (
            np.hstack([getattr(part, key) for part in parts])[:, columns]
            for key in ("positions", "velocities")
        )
        whole.append(Trajectory(parts[0].start_ns, robot.command_joints, parts[0].times_s, q, v))
    return whole


class TestClosedLoop(ClosedLoopTests):
    pass
