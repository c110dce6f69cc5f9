# SPDX-License-Identifier: Apache-2.0
"""Launch files: what they pass exists, and where launch is installed they load and say what they take."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from dreamzero_ros.embodiment.load import embodiment_files, load
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.sim_node import SimParameters

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
BASE = ROOT / "launch" / "robot.launch.py"
ROBOTS = [path for path in FILES if path != BASE]
OF_EVERY_NODE = {"use_sim_time", "autostart"}
FOREIGN = {"robot_state_publisher": {"robot_description"}, "rviz2": set()}
"""Executables of other packages, with the parameters that they get."""

needs_launch = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None, reason="needs the ROS packages launch and launch_ros"
)


def declared(kind: type) -> dict[str, str]:
    """Parameters of a node with their types as they are written."""
    return {field.name: str(field.type) for field in dataclasses.fields(kind)}


def constant(name: str) -> ast.expr:
    """A module constant of the shared launch file, read without running it."""
    for node in ast.parse(BASE.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return node.value
    raise AssertionError(f"{BASE.name} has no {name}")


def words(name: str) -> set[str]:
    """The words in a tuple, or the keys of a dictionary."""
    value = constant(name)
    return {key.value for key in (value.keys if isinstance(value, ast.Dict) else value.elts)}


def uses(path: Path = BASE) -> Iterator[ast.AST]:
    """Everything inside the functions of a launch file."""
    for function in ast.parse(path.read_text()).body:
        if isinstance(function, ast.FunctionDef):
            yield from ast.walk(function)


def test_every_robot_has_its_launch_file() -> None:
    robots = {path.stem for path in embodiment_files()} - {"example"}
    assert {path.name.removesuffix(".launch.py") for path in FILES} == robots | {"robot"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_compile(path: Path) -> None:
    compile(path.read_text(), path, "exec")


def test_what_is_passed_is_declared() -> None:
    policy, sim = declared(PolicyParameters), declared(SimParameters)
    assert words("OVERRIDES") <= set(policy)
    assert words("TYPES") <= set(policy) | OF_EVERY_NODE
    assert words("OF_THE_ROBOT") <= set(sim) & set(policy)
    keys = {key.value for node in uses() if isinstance(node, ast.Dict) for key in node.keys}
    assert keys <= set(policy) | set(sim) | OF_EVERY_NODE | set().union(*FOREIGN.values())


def test_parameters_are_passed_as_the_types_that_they_are() -> None:
    value = constant("TYPES")
    types = {key.value: ast.unparse(kind) for key, kind in zip(value.keys, value.values, strict=True)}
    policy = declared(PolicyParameters)
    for name in words("OVERRIDES"):
        assert types.get(name, "str") == policy[name], name


def test_executables_are_installed() -> None:
    calls = [node for node in uses() if isinstance(node, ast.Call) and ast.unparse(node.func) == "_node"]
    own = {call.args[0].value for call in calls if "package" not in {key.arg for key in call.keywords}}
    assert own == {"policy_node", "sim_node", "run"}
    setup = (ROOT / "setup.py").read_text()
    assert all(f'f"{executable} = ' in setup for executable in own)
    assert {call.args[0].value for call in calls} - own == set(FOREIGN)


def test_every_argument_is_used() -> None:
    """As `given[name]` or `_parameter(name)`; those of the policy node are passed on as they are."""
    read = {node.value for node in uses() if isinstance(node, ast.Constant)}
    assert words("ARGUMENTS") <= read
    assert words("SWITCHES") <= words("ARGUMENTS")
    assert not words("ARGUMENTS") & words("OVERRIDES")


@pytest.mark.parametrize("path", ROBOTS, ids=lambda path: path.name)
def test_each_names_its_robot_and_nothing_else(path: Path) -> None:
    robot = path.name.removesuffix(".launch.py")
    given = {
        key.value: value.value
        for node in uses(path)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
    }
    assert given == {"embodiment": robot}
    load(robot)


@needs_launch
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_load_and_describe_their_arguments(path: Path) -> None:
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    description = PythonLaunchDescriptionSource(str(path)).get_launch_description(LaunchContext())
    arguments = {argument.name: argument.description for argument in description.get_launch_arguments()}
    assert set(arguments) == words("ARGUMENTS") | words("OVERRIDES")
    assert all(len(text) > 20 and text[0] != " " for text in arguments.values())


def started(**given: str) -> dict[str, list[str]]:
    """What the shared launch file would start: words on the command line by executable."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    context = LaunchContext()
    context.launch_configurations.update(given)
    nodes: list[Any] = []
    for entity in PythonLaunchDescriptionSource(str(BASE)).get_launch_description(context).entities:
        if isinstance(entity, DeclareLaunchArgument | OpaqueFunction):
            nodes += entity.execute(context) or []
    return {node.node_executable: list(takewhile("--ros-args".__ne__, cmd(context, node))) for node in nodes}


def cmd(context: Any, node: Any) -> Iterator[str]:
    """The words behind the executable; those of ROS are known only while it runs."""
    from launch.utilities import perform_substitutions

    return (perform_substitutions(context, word) for word in node.cmd[1:])


@needs_launch
def test_rviz_shows_the_robot_of_the_policy(tmp_path: Path) -> None:
    assert set(started()) == {"policy_node"}
    assert set(started(sim="true")) == {"policy_node", "sim_node"}
    real = started(embodiment="yam", rviz="true")
    assert set(real) == {"policy_node", "rviz2"}
    assert real["rviz2"][:2] == ["-d", str(ROOT / "config" / "rviz" / "yam.rviz")]
    assert "-f" not in real["rviz2"]
    params = tmp_path / "params.yaml"
    params.write_text("/left/policy_node:\n  ros__parameters: {embodiment: agibot_g1}\n")
    simulated = started(params_file=str(params), sim="true", rviz="true")
    assert set(simulated) == {"policy_node", "sim_node", "robot_state_publisher", "rviz2"}
    assert simulated["rviz2"][1:4] == [str(ROOT / "config" / "rviz" / "agibot_g1.rviz"), "-f", "base_link"]
    own = started(embodiment="example", rviz="true", rviz_config=str(params), rviz_frame="world")
    assert own["rviz2"][1:4] == [str(params), "-f", "world"]
    with pytest.raises(FileNotFoundError, match=r"example.rviz: name yours with rviz_config:="):
        started(embodiment="example", rviz="true")


@needs_launch
def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(RuntimeError, match=r'"sim" provided value "yes".*\[.true., .false.\]'):
        started(sim="yes")
