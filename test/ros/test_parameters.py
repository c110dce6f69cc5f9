# SPDX-License-Identifier: Apache-2.0
"""Parameters: declared from one dataclass, shown in one file, refused in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
import yaml
from rcl_interfaces.msg import SetParametersResult
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.footage_node import FootageParameters
from dreamzero_ros.ros.isolation import reserved_domain
from dreamzero_ros.ros.parameters import declare, on_change
from dreamzero_ros.ros.sim_node import SimParameters

pytestmark = pytest.mark.ros

FILE = Path(__file__).parents[2] / "config" / "policy_node.yaml"
KINDS = (PolicyParameters, SimParameters, FootageParameters)


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    made = Context()
    with reserved_domain() as domain:
        rclpy.init(context=made, domain_id=domain)
        yield made
        rclpy.shutdown(context=made)


def node(context: Context, **values: object) -> Node:
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    return Node("anything", context=context, parameter_overrides=overrides)


def defaults(kind: type) -> dict[str, object]:
    return dataclasses.asdict(kind())


def test_the_file_shows_every_parameter_with_its_default() -> None:
    shown = yaml.safe_load(FILE.read_text())["/**/policy_node"]["ros__parameters"]
    assert shown == {"autostart": False, **defaults(PolicyParameters)}


@pytest.mark.parametrize("kind", KINDS)
def test_without_overrides_the_defaults_hold(kind: type, context: Context) -> None:
    made = node(context)
    assert declare(made, kind) == kind()
    for name in defaults(kind):
        descriptor = made.describe_parameter(name)
        live = {field.name: field.metadata["live"] for field in dataclasses.fields(kind)}
        assert len(descriptor.description) > 10 and descriptor.read_only is not live[name]
    made.destroy_node()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"policy": "hol"}, "policy: got 'hol', expected one of dreamzero, hold"),
        ({"margin_steps": 99}, "margin_steps out of range"),
        ({"lead_s": 0.0}, "lead_s out of range"),
        ({"lead_s": 1}, "lead_s"),
        ({"dit_steps": "9"}, "dit_steps"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], words: str, context: Context) -> None:
    made = node(context, **values)
    with pytest.raises((ValueError, ParameterException), match=words):
        declare(made, PolicyParameters)
    made.destroy_node()


def test_a_running_node_takes_live_parameters_and_refuses_the_others(context: Context) -> None:
    made = node(context)
    taken = [declare(made, PolicyParameters)]

    def take(settings: PolicyParameters) -> None:
        if settings.margin_steps == 7:
            raise ValueError("seven is too many")
        taken.append(settings)

    on_change(made, lambda: taken[-1], take)

    def change(name: str, value: object) -> SetParametersResult:
        return made.set_parameters([Parameter(name, value=value)])[0]

    assert change("margin_steps", 3).successful and taken[-1].margin_steps == 3
    assert change("on_velocity_limit", "slow_down").successful
    assert (taken[-1].margin_steps, taken[-1].on_velocity_limit) == (3, "slow_down")
    for name, value, words in (
        ("policy", "hold", "read-only"),
        ("margin_steps", 99, "range"),
        ("margin_steps", 7, "seven is too many"),
        ("margin_steps", "3", "type"),
        ("on_velocity_limit", "slower", "expected one of clamp, slow_down, refuse"),
    ):
        result = change(name, value)
        assert not result.successful and words in result.reason
    assert len(taken) == 3 and made.get_parameter("margin_steps").value == 3
    made.destroy_node()


def test_parameters_of_the_robot_file() -> None:
    robot = SimParameters(embodiment_parameters=["", "arm=fr3"]).load()
    assert robot.command_joints[0] == "fr3_joint1"
    with pytest.raises(ValueError, match="got 'arm', expected key=value"):
        SimParameters(embodiment_parameters=["arm"]).load()
