# SPDX-License-Identifier: Apache-2.0
"""A run in the simulated world is recorded, and played through a policy: the report shows what both did."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import CHROMIUM, MISSING
from live_recording import LiveRecording
from report_check import assert_pages_work
from ros_graph import Graph, Operator
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.command import main
from dreamzero_ros.evaluation.run_command import COMPLETE
from dreamzero_ros.evaluation.summary import read_summary
from dreamzero_ros.ros.qos import COMMAND, LATCHED, SENSOR

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
SECONDS = 6.0
TOPICS = {
    **{f"/{camera.topic}": (Image, SENSOR) for camera in ROBOT.cameras},
    **{f"/{entry.name}/joint_trajectory": (JointTrajectory, COMMAND) for entry in ROBOT.controllers},
    "/joint_states": (JointState, SENSOR),
    "/robot_description": (String, LATCHED),
}


@pytest.fixture(scope="module")
def bag(_this_machine_only: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the topics of a run said."""
    folder = tmp_path_factory.mktemp("recorded")
    with Graph(folder) as graph:
        graph.start("sim_node", image_scale=0.5, autostart=True)
        graph.start("policy_node", policy="wave", autostart=True)
        operator = Operator(graph, ROBOT)
        graph.wait(lambda: operator.ready and operator.recording.measured, "an active policy node")
        with LiveRecording(graph, folder / "session", TOPICS):
            run = operator.run("wave at the camera")
            operator.await_following()
            graph.spend(SECONDS)
            run.cancel()
            run.result()
    return folder / "session"


def evaluate(bag: Path, out: Path, *options: str) -> dict:
    robot = ["--embodiment", "droid_franka", "--instruction", "wave at the camera", "--latency", "0.1"]
    assert main(["run", str(bag), *robot, *options, "--out", str(out)]) == COMPLETE
    return read_summary(out)


def test_what_was_recorded_is_what_was_commanded(bag: Path, tmp_path: Path) -> None:
    summary = evaluate(bag, tmp_path / "out", "--policy", "recorded")
    metrics = summary["metrics"]
    assert summary["reference"] == "commands"
    assert metrics["rmse"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["rmse"]["hold"]["value"] > 0.01, "the arm moved"
    assert metrics["direction"]["value"] == pytest.approx(1.0)


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_the_pages_show_it(bag: Path, tmp_path: Path) -> None:
    pytest.importorskip("pinocchio", reason="pinocchio is not installed: requirements/kinematics.txt")
    summary = evaluate(bag, tmp_path / "out", "--policy", "wave")
    assert summary["metrics"]["ee_position_mm"]["hold"]["value"] > 1, "by robot_description"
    assert_pages_work(tmp_path / "out")
