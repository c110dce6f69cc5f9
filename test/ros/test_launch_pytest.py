# SPDX-License-Identifier: Apache-2.0
"""Each robot from its launch file, simulated: the policy is active, says so over DDS, and ends cleanly."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from ros_graph import Graph, Operator

from dreamzero_ros.embodiment.load import embodiment_files, load
from dreamzero_ros.ros.interfaces import PolicyStatus

FOLDER = Path(__file__).parents[2] / "launch"
ROBOTS = sorted({path.stem for path in embodiment_files()} - {"example"})


def missing() -> str:
    """What these tests lack on this machine."""
    packages = [name for name in ("launch_ros", "launch_pytest") if not importlib.util.find_spec(name)]
    if packages:
        return f"needs the ROS packages {', '.join(packages)}"
    try:
        get_package_prefix("dreamzero_ros")
    except PackageNotFoundError:
        return "needs dreamzero_ros built by colcon, and install/setup.bash sourced"
    return ""


pytestmark = pytest.mark.ros

if missing():
    pytest.skip(missing(), allow_module_level=True)

import launch_pytest  # noqa: E402
from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription, RegisterEventHandler  # noqa: E402
from launch.event_handlers import OnProcessExit  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402


@dataclass
class Launched:
    """What a launch file is started with, and how its processes ended."""

    robot: str
    arguments: dict[str, str]
    codes: dict[str, int] = field(default_factory=dict)
    """Exit codes by executable."""

    def description(self) -> LaunchDescription:
        source = PythonLaunchDescriptionSource(str(FOLDER / f"{self.robot}.launch.py"))
        ended = OnProcessExit(on_exit=lambda event, context: self._note(event.process_name, event.returncode))
        include = IncludeLaunchDescription(source, launch_arguments=self.arguments.items())
        return LaunchDescription([RegisterEventHandler(ended), include])

    def _note(self, process_name: str, code: int) -> None:
        self.codes[process_name.rpartition("-")[0]] = code


@pytest.fixture
def environment(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launched processes belong to the graph."""
    for name, value in graph.environment.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


@launch_pytest.fixture(params=ROBOTS)
def simulated(environment: None, request: pytest.FixtureRequest) -> tuple[LaunchDescription, Launched]:
    launched = Launched(request.param, {"sim": "true", "policy": "hold"})
    return launched.description(), launched


@pytest.mark.launch(fixture=simulated)
def test_a_simulated_robot_becomes_active_and_ends_cleanly(
    simulated: tuple[LaunchDescription, Launched], graph: Graph
) -> Iterator[None]:
    launched = simulated[1]
    operator = Operator(graph, load(launched.robot))
    report = operator.await_report(lambda report: report.state == PolicyStatus.IDLE, "IDLE")
    assert operator.lifecycle() == "active"
    assert (report.embodiment, report.policy) == (launched.robot, "hold")
    graph.wait(lambda: operator.recording.measured, "joint states of the simulation")
    graph.executor.remove_node(operator)
    operator.destroy_node()
    yield
    assert launched.codes == {"policy_node": 0, "sim_node": 0}


@launch_pytest.fixture
def running(environment: None) -> tuple[LaunchDescription, Launched]:
    arguments = {"sim": "true", "policy": "hold", "namespace": "left", "instruction": "stay"}
    launched = Launched("droid_franka", arguments | {"embodiment_parameters": "[arm=fr3]"})
    return launched.description(), launched


@pytest.mark.launch(fixture=running)
def test_arguments_reach_policy_and_simulation(
    running: tuple[LaunchDescription, Launched], graph: Graph
) -> Iterator[None]:
    """An FR3 in a namespace is held by a run: policy and simulation agree on all names."""
    launched = running[1]
    operator = Operator(graph, load("droid_franka", {"arm": "fr3"}), namespace="left")
    operator.await_following()
    graph.wait(lambda: operator.recording.measured, "joint states of the simulation")
    graph.executor.remove_node(operator)
    operator.destroy_node()
    yield
    assert {name: launched.codes[name] for name in ("policy_node", "sim_node")} == {
        "policy_node": 0,
        "sim_node": 0,
    }
