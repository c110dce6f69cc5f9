# SPDX-License-Identifier: Apache-2.0
"""`ros2 launch` of the installed package: each simulated robot becomes active, and Ctrl-C ends it cleanly."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from ros_graph import PATIENCE_S, Graph, Operator

from dreamzero_ros.embodiment.load import embodiment_files, load
from dreamzero_ros.ros.interfaces import PolicyStatus

ROBOTS = sorted({path.stem for path in embodiment_files()} - {"example"})
ENDED = re.compile(r"\[(\w+)-\d+\]: process has (?:finished cleanly|died \[pid \d+, exit code (-?\d+))")


def missing() -> str:
    """What these tests lack on this machine."""
    if shutil.which("ros2") is None:
        return "needs the command ros2 (the ROS packages ros2launch and ros2run)"
    try:
        get_package_prefix("dreamzero_ros")
    except (PackageNotFoundError, OSError):  # OSError: no AMENT_PREFIX_PATH
        return "needs dreamzero_ros built by colcon, and install/setup.bash sourced"
    return ""


pytestmark = [pytest.mark.ros, pytest.mark.skipif(bool(missing()), reason=missing())]


def hear_ctrl_c() -> None:
    """A shell may have SIGINT ignored in the background, and launch goes along with that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Launch:
    """A running `ros2 launch dreamzero_ros <robot>.launch.py`."""

    def __init__(self, graph: Graph, robot: str, arguments: dict[str, str]) -> None:
        self._log = graph.processes.log("launch")
        words = [f"{name}:={value}" for name, value in arguments.items()]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["ros2", "launch", "dreamzero_ros", f"{robot}.launch.py", *words],
                env=graph.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=hear_ctrl_c,
            )

    def end(self) -> dict[str, int]:
        """Ends it as Ctrl-C does; returns the exit codes of its processes by executable."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
        return {name: int(code or 0) for name, code in ENDED.findall(self._log.read_text(errors="replace"))}


@pytest.fixture
def launch(graph: Graph) -> Iterator[Callable[..., Launch]]:
    """Starts launch files; what a failed test leaves running is ended."""
    launches: list[Launch] = []

    def start(robot: str, **arguments: str) -> Launch:
        launches.append(Launch(graph, robot, arguments))
        return launches[-1]

    yield start
    for started in launches:
        started.end()


def leave(graph: Graph, operator: Operator) -> None:
    """Takes an operator out of the graph."""
    graph.executor.remove_node(operator)
    operator.destroy_node()


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_simulated_robot_becomes_active_and_ends_cleanly(
    launch: Callable[..., Launch], graph: Graph, robot: str
) -> None:
    launched = launch(robot, sim="true", policy="hold")
    operator = Operator(graph, load(robot))
    report = operator.await_report(lambda report: report.state == PolicyStatus.IDLE, "IDLE")
    assert operator.lifecycle() == "active"
    assert (report.embodiment, report.policy) == (robot, "hold")
    graph.wait(lambda: operator.recording.measured, "joint states of the simulation")
    leave(graph, operator)
    assert launched.end() == {"policy_node": 0, "sim_node": 0}


def test_arguments_reach_policy_and_simulation(launch: Callable[..., Launch], graph: Graph) -> None:
    """An FR3 in a namespace is held by a run: policy and simulation agree on all names."""
    launched = launch(
        "droid_franka",
        sim="true",
        policy="hold",
        namespace="left",
        instruction="stay",
        embodiment_parameters="[arm=fr3]",
    )
    operator = Operator(graph, load("droid_franka", {"arm": "fr3"}), namespace="left")
    operator.await_following()
    graph.wait(lambda: operator.recording.measured, "joint states of the simulation")
    leave(graph, operator)
    codes = launched.end()
    assert (codes["policy_node"], codes["sim_node"]) == (0, 0)
