# SPDX-License-Identifier: Apache-2.0
"""RViz configurations: one for each robot, of displays that exist, for topics that are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from rclpy.node import Node
from ros_graph import Graph

from dreamzero_ros.embodiment.load import embodiment_files, load

pytestmark = pytest.mark.ros

FOLDER = Path(__file__).parents[2] / "config" / "rviz"
ROBOTS = sorted({path.stem for path in embodiment_files()} - {"example"})
TYPES = {
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/Path": "nav_msgs/msg/Path",
    "rviz_default_plugins/RobotModel": "std_msgs/msg/String",
}
"""Displays of rviz_default_plugins that take a topic, and its type."""
OTHERS = {
    *(
        f"rviz_default_plugins/{name}"
        for name in ("Grid", "MoveCamera", "FocusCamera", "Measure", "Orbit", "TF")
    ),
    *(f"rviz_common/{name}" for name in ("Displays", "Views")),
    "",
}
"""Further displays, tools, views and panels; the manager itself has none."""


def read(robot: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{robot}.rviz").read_text())


def displays(robot: str) -> list[dict[str, Any]]:
    return read(robot)["Visualization Manager"]["Displays"]


def classes(part: object) -> Iterator[str]:
    """Every plug-in that a configuration names."""
    if isinstance(part, Mapping):
        yield from (value for key, value in part.items() if key == "Class")
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from classes(inner)


def shown(robot: str) -> dict[str, tuple[str, str]]:
    """Type and durability of every topic."""
    topics = {}
    for display in displays(robot):
        topic = display.get("Topic") or display.get("Description Topic")
        if topic:
            topics[topic["Value"]] = (TYPES[display["Class"]], topic["Durability Policy"])
    return topics


def test_every_robot_has_its_configuration() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == ROBOTS
    assert 'shared("config/rviz", "*.rviz")' in (FOLDER.parents[1] / "setup.py").read_text()


@pytest.mark.parametrize("robot", ROBOTS)
def test_only_plugins_of_every_rviz_are_named(robot: str) -> None:
    assert set(classes(read(robot))) <= set(TYPES) | OTHERS
    manager = read(robot)["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"]
    assert manager["Views"]["Current"]["Class"] == "rviz_default_plugins/Orbit"
    assert all(display["Enabled"] for display in displays(robot))
    names = [display["Name"] for display in displays(robot)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("robot", ROBOTS)
def test_topics_are_those_of_the_nodes(robot: str, graph: Graph) -> None:
    pytest.importorskip("pinocchio", reason="pinocchio is not installed: requirements/kinematics.txt")
    embodiment = load(robot)
    node = Node("observer", context=graph.context)
    namespace = f"__ns:=/{robot}"
    graph.start(
        "sim_node", "-r", namespace, name=f"sim_{robot}", embodiment=robot, cameras=False, autostart=True
    )
    graph.start(
        "policy_node",
        "-r",
        namespace,
        name=f"policy_{robot}",
        embodiment=robot,
        policy="hold",
        autostart=True,
    )
    topics = shown(robot)

    def published() -> bool:
        names = dict(node.get_topic_names_and_types())
        full = {f"/{robot}/{topic}": kind for topic, (kind, _) in topics.items()}
        return all(names.get(name) == [kind] and node.count_publishers(name) for name, kind in full.items())

    graph.wait(published, f"publishers of {sorted(topics)}")
    for topic, (_, durability) in topics.items():
        infos = node.get_publishers_info_by_topic(f"/{robot}/{topic}")
        assert {info.qos_profile.durability.name for info in infos} == {durability.upper().replace(" ", "_")}
    ways = {topic for topic, (kind, _) in topics.items() if kind == "nav_msgs/msg/Path"}
    assert ways == {f"policy_node/end_effector/{name}/path" for name in embodiment.end_effectors}
    node.destroy_node()
