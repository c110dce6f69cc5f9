# SPDX-License-Identifier: Apache-2.0
"""The policy node for one robot, and on request a simulation of it; the robots' files stand on it."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = "dreamzero_ros"
SHARE = Path(__file__).resolve().parents[1]

ARGUMENTS = {
    "namespace": ("", "Namespace of the nodes and of all their relative topics."),
    "params_file": (
        str(SHARE / "config" / "policy_node.yaml"),
        "Parameters of the policy node, with comments.",
    ),
    "sim": (
        "false",
        "Also simulate the robot: controllers, joint states and cameras. Second step with a robot.",
    ),
    "autostart": ("true", "Configure and activate at start-up; nothing moves before a run."),
    "use_sim_time": ("false", "Take the time from /clock, for simulators and recordings."),
    "instruction": ("", "Begin a run with this instruction as soon as the policy is active. Empty: no run."),
}
OVERRIDES = {
    "embodiment": "Robot: name of a shipped robot file, or path of a .yaml file.",
    "embodiment_parameters": "Parameters of the robot file as [key=value], for example [arm=fr3].",
    "policy": "dreamzero: the model; hold: asks the arm to stay, for first contact; replay: of a recording.",
    "recording": "For replay: a run.json of the demo.",
    "dry_run": "true: everything but commands. First step with a robot.",
    "checkpoint": "Weights: a folder or a hub id in the reference release's layout.",
    "random_weights": "Instead of a checkpoint: tiny, wan22_5b or wan21_14b, untrained, for trials.",
    "device": "Torch device of the model: cuda, cuda:1 or cpu.",
    "dtype": "Number format of the model: bfloat16 on GPUs, float32 on CPUs.",
}
"""Parameters of the policy node; an argument that is left empty keeps the value of `params_file`."""

TYPES = {"embodiment_parameters": list[str], "dry_run": bool, "use_sim_time": bool, "autostart": bool}
"""Parameters that are no text."""
OF_THE_ROBOT = ("embodiment", "embodiment_parameters")
"""Parameters that the simulation shares."""


def generate_launch_description() -> LaunchDescription:
    """What differs per deployment as arguments; everything else is in `params_file`."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value="", description=f"{text} Empty: as in params_file.")
        for name, text in OVERRIDES.items()
    ]
    profile = SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", str(SHARE / "config" / "fastdds.xml"))
    return LaunchDescription([*arguments, profile, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name in (*ARGUMENTS, *OVERRIDES)}
    values = {name: _parameter(name) for name in OVERRIDES if given[name]}
    clock = {"use_sim_time": _parameter("use_sim_time")}
    active = {"autostart": _parameter("autostart")}
    robot = {name: values[name] for name in OF_THE_ROBOT if name in values}
    nodes = [_node("policy_node", given, [given["params_file"], values, clock, active])]
    if given["sim"] == "true":
        nodes.append(_node("sim_node", given, [robot, clock, {"autostart": True}]))
    if given["instruction"]:
        nodes.append(_node("run", given, [clock], [given["instruction"]]))
    return nodes


def _parameter(name: str) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(name), value_type=TYPES.get(name, str))


def _node(executable: str, given: dict[str, str], parameters: list, words: tuple | list = ()) -> Node:
    return Node(
        package=PACKAGE,
        executable=executable,
        name=None if executable == "run" else executable,
        namespace=given["namespace"],
        parameters=parameters,
        arguments=list(words),
        output="screen",
    )
