# SPDX-License-Identifier: Apache-2.0
"""A graph gets a domain in which nobody is."""

from __future__ import annotations

import pytest
from rclpy.node import Node
from ros_graph import Graph

from dreamzero_ros.ros import isolation

pytestmark = pytest.mark.ros


def test_a_domain_with_a_node_in_it_is_not_free(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "DOMAINS", range(graph.domain, graph.domain + 1))
    assert isolation.free_domain() == graph.domain
    node = Node("resident", context=graph.context)
    with pytest.raises(RuntimeError, match=f"no free ROS domain among {graph.domain} to {graph.domain}: end"):
        isolation.free_domain()
    node.destroy_node()
