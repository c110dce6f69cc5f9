# SPDX-License-Identifier: Apache-2.0
"""Settings by name without ROS: the same file, the same ranges, refused in the same words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dreamzero_ros.policy.parameters import build, parameter_file, parse
from dreamzero_ros.policy.policy_parameters import PolicyParameters

pytestmark = pytest.mark.cpu

FILE = Path(__file__).parents[2] / "config" / "policy_node.yaml"


def test_the_file_of_the_node_is_usable_here() -> None:
    values = parameter_file(FILE, "policy_node")
    assert values.keys() == {field.name for field in dataclasses.fields(PolicyParameters)}
    assert build(PolicyParameters, values) == PolicyParameters()


def test_words_of_a_command_line() -> None:
    texts = {"margin_steps": "3", "lead_s": "0.1", "smooth": "false", "policy": "hold", "dit_steps": "5"}
    built = build(
        PolicyParameters, parse(PolicyParameters, {**texts, "embodiment_parameters": "arm=fr3,a=b"})
    )
    expected = {"margin_steps": 3, "lead_s": 0.1, "smooth": False, "policy": "hold", "dit_steps": "5"}
    assert built == PolicyParameters(**expected, embodiment_parameters=["arm=fr3", "a=b"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"margin_step": 3}, "margin_step: there is none of this name; did you mean 'margin_steps'"),
        ({"lead_s": 1}, "lead_s: got 1, expected a float"),
        ({"smooth": 1}, "smooth: got 1, expected true or false"),
        ({"margin_steps": True}, "margin_steps: got True, expected an int"),
        ({"embodiment_parameters": [1]}, "expected a list of str"),
        ({"margin_steps": 99}, "margin_steps: got 99, expected 0 to 48"),
        ({"lead_s": 0.0}, "lead_s: got 0.0, expected 0.005 to 1"),
        ({"dit_steps": "9"}, "dit_steps: got '9', expected one of 1, 5, 6"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(PolicyParameters, values)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"spead_scale": "1"}, "did you mean 'speed_scale'"),
        ({"margin_steps": "3.5"}, "margin_steps: got '3.5', expected an int"),
        ({"smooth": "yes"}, "smooth: got 'yes', expected true or false"),
    ],
)
def test_words_that_are_no_value_are_refused(texts: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(PolicyParameters, texts)


def test_files_that_set_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    for content, words in (
        (
            "sim_node: {ros__parameters: {seed: 1}}",
            "parameters of policy_node, got those of sim_node",
        ),
        ("policy_node: {seed: 1}", "expected a parameter file"),
        ("[1, 2]", "expected a parameter file"),
        ("a: [", "expected a parameter file"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=words):
            parameter_file(path, "policy_node")
    path.write_text("/left/policy_node: {ros__parameters: {seed: 1, use_sim_time: true}}")
    assert parameter_file(path, "policy_node") == {"seed": 1}
