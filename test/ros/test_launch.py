# SPDX-License-Identifier: Apache-2.0
"""Launch files: what they pass exists, and where launch is installed they load and say what they take."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
from pathlib import Path

import pytest

from dreamzero_ros.embodiment.load import embodiment_files, load
from dreamzero_ros.ros.policy_settings import PolicyParameters
from dreamzero_ros.ros.sim_node import SimParameters

pytestmark = pytest.mark.ros

FOLDER = Path(__file__).parents[2] / "launch"
FILES = sorted(FOLDER.glob("*.launch.py"))
BASE = FOLDER / "robot.launch.py"
OF_EVERY_NODE = {"use_sim_time", "autostart"}


def constant(name: str) -> object:
    """A module constant of the shared launch file, read without running it."""
    for node in ast.parse(BASE.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            value = node.value
            keys = value.keys if isinstance(value, ast.Dict) else value.elts
            return [key.value for key in keys]
    raise AssertionError(f"{BASE.name} has no {name}")


def test_every_robot_has_its_launch_file() -> None:
    robots = {path.stem for path in embodiment_files()} - {"example"}
    assert {path.name.removesuffix(".launch.py") for path in FILES} == robots | {"robot"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_compile(path: Path) -> None:
    compile(path.read_text(), path, "exec")


def test_what_is_passed_is_declared() -> None:
    declared = {field.name for field in dataclasses.fields(PolicyParameters)}
    assert set(constant("OVERRIDES")) <= declared
    assert set(constant("TYPES")) <= declared | OF_EVERY_NODE
    assert set(constant("OF_THE_ROBOT")) <= {field.name for field in dataclasses.fields(SimParameters)}


@pytest.mark.parametrize("path", [path for path in FILES if path != BASE], ids=lambda path: path.name)
def test_each_names_its_robot(path: Path) -> None:
    named = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    robot = path.name.removesuffix(".launch.py")
    assert robot in named
    load(robot)


@pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None, reason="needs the ROS packages launch and launch_ros"
)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_load_and_describe_their_arguments(path: Path) -> None:
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    description = PythonLaunchDescriptionSource(str(path)).get_launch_description(LaunchContext())
    arguments = {argument.name: argument.description for argument in description.get_launch_arguments()}
    assert {"checkpoint", "policy", "sim", "namespace", "instruction", "autostart", "dry_run"} <= set(
        arguments
    )
    assert all(len(text) > 10 for text in arguments.values())
