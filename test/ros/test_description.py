# SPDX-License-Identifier: Apache-2.0
"""The robot description over DDS: latched before the listener came, changed later, never told twice."""

from __future__ import annotations

import pytest
from rclpy.node import Node
from ros_graph import Graph
from std_msgs.msg import String

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.ros.description import RobotDescription
from dreamzero_ros.ros.qos import LATCHED
from dreamzero_ros.sim.description import describe

pytestmark = pytest.mark.ros


def test_a_description_is_heard_whenever_it_comes_and_told_once(graph: Graph) -> None:
    publishing = Node("robot_state_publisher", context=graph.context, namespace="cell")
    publisher = publishing.create_publisher(String, "robot_description", LATCHED)
    publisher.publish(String(data="<robot/>"))
    listening = Node("listener", context=graph.context, namespace="cell")
    heard: list[str] = []
    description = RobotDescription(listening, heard.append)
    for node in (publishing, listening):
        graph.executor.add_node(node)
    assert description.urdf is None
    graph.wait(lambda: heard, "the description from before")
    for text in ("<robot/>", '<robot name="new"/>', '<robot name="new"/>', "<robot/>"):
        publisher.publish(String(data=text))
        graph.spend(0.2)
    assert heard == ["<robot/>", '<robot name="new"/>', "<robot/>"]
    assert description.urdf == "<robot/>"
    description.close()
    publisher.publish(String(data='<robot name="late"/>'))
    graph.spend(0.3)
    assert len(heard) == 3


def test_a_volatile_publisher_is_heard_without_a_warning(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    """As some drivers publish it: a latched subscription alone does not match them."""
    publishing, listening = (
        Node(name, context=graph.context, namespace="volatile") for name in ("driver", "listener")
    )
    heard: list[str] = []
    description = RobotDescription(listening, heard.append)
    for node in (publishing, listening):
        graph.executor.add_node(node)
    publisher = publishing.create_publisher(String, "robot_description", 10)
    graph.wait(publisher.get_subscription_count, "the subscription")
    graph.spend(0.3)
    publisher.publish(String(data="<robot/>"))
    graph.wait(lambda: heard, "the description")
    latched = publishing.create_publisher(String, "robot_description", LATCHED)
    latched.publish(String(data='<robot name="new"/>'))
    graph.wait(lambda: len(heard) > 1, "the description of the other publisher")
    graph.spend(0.2)
    assert heard == ["<robot/>", '<robot name="new"/>']
    assert [info.node_name for info in description.publishers()] == ["driver"] * 2
    assert "listener]: New publisher" not in capfd.readouterr().err


def test_the_simulation_describes_its_robot(graph: Graph) -> None:
    graph.start("sim_node", autostart=True, cameras=False, embodiment="yam")
    graph.start("sim_node", "-r", "__ns:=/quiet", autostart=True, cameras=False, publish_description=False)
    heard: list[str] = []
    listening = Node("listener", context=graph.context)
    graph.executor.add_node(listening)
    RobotDescription(listening, heard.append)
    graph.wait(lambda: heard, "the description of the simulation")
    assert heard == [describe(load("yam"))]
    graph.wait(lambda: listening.count_publishers("/quiet/joint_states"), "the other simulation")
    graph.spend(0.3)
    assert listening.count_publishers("/quiet/robot_description") == 0
