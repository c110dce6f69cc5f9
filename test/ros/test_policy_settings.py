# SPDX-License-Identifier: Apache-2.0
"""A policy node that cannot be configured says why, stays unconfigured, and lives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from lifecycle_msgs.msg import Transition
from ros_graph import TINY, Graph, Operator

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine.weights import random_engine, save_checkpoint
from dreamzero_ros.ros.interfaces import PolicyStatus

pytestmark = pytest.mark.ros

CPU = {"device": "cpu", "dtype": "float32"}
MISSING, FOREIGN = "/nowhere/checkpoint", "<a checkpoint of another robot>"

CASES = {
    "neither": (CPU, ("exactly one of", "checkpoint", "random_weights")),
    "both": (TINY | {"checkpoint": MISSING}, ("exactly one of", "checkpoint", "random_weights")),
    "missing_checkpoint": (CPU | {"checkpoint": MISSING}, (MISSING,)),
    "foreign_checkpoint": (CPU | {"checkpoint": FOREIGN}, ("oxe_droid", "yam")),
    "unknown_robot": (TINY | {"embodiment": "droid_frank"}, ("droid_frank", "droid_franka")),
    "no_device": (TINY | {"device": "cuda"}, ("device", "cuda", "device:=cpu")),
    "too_many_devices": (
        TINY | {"device": "cpu,cpu,cpu,cpu"},
        ("parameter device", "3 heads", "name 1 or 2"),
    ),
}
"""Name of the node: its parameters, and what the reason must say."""


@pytest.fixture(scope="module")
def nodes(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Operator]]:
    """All of them at once; each has an operator of its own."""
    engine = random_engine("tiny", "cpu", torch.float32)
    folder = tmp_path_factory.mktemp("checkpoints") / "of_another_robot"
    statistics = {"statistics": {"state": {}, "action": {}}}
    save_checkpoint(dataclasses.replace(engine, metadata={"yam": statistics}), folder)
    for name, (parameters, _) in CASES.items():
        given = {key: folder if value == FOREIGN else value for key, value in parameters.items()}
        graph.start("policy_node", "-r", f"__node:={name}", name=name, **given)
    robot = load("droid_franka")
    yield {name: Operator(graph, robot, policy_node=name) for name in CASES}
    assert set(graph.processes.stop().values()) == {0}


@pytest.mark.parametrize("name", CASES)
def test_configure_is_refused_in_words(graph: Graph, nodes: dict[str, Operator], name: str) -> None:
    _, words = CASES[name]
    operator = nodes[name]
    assert not operator.transition(Transition.TRANSITION_CONFIGURE)
    assert operator.lifecycle() == "unconfigured"
    report = operator.await_report(lambda report: "configure failed" in report.reason, "a reason")
    assert report.state == PolicyStatus.INACTIVE
    for word in words:
        assert word in report.reason
    assert "cannot configure" in graph.log(name)
