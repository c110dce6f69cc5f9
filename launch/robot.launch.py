# SPDX-License-Identifier: Apache-2.0
"""The policy node for one robot, with a simulation and RViz on request; the robots' files stand on it."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dreamzero_ros.policy.robot_parameters import RobotParameters
from dreamzero_ros.ros.processes import PATIENCE_S
from dreamzero_ros.sim.description import ROOT, describe

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
    "rviz": (
        "false",
        "Show robot, planned way of its end effectors, what the model sees and imagines. Needs rviz2, and "
        "with sim:=true robot_state_publisher.",
    ),
    "rviz_config": ("", "RViz configuration. Empty: the one of the robot in config/rviz."),
    "rviz_frame": (
        "",
        "Frame that stands still in RViz. Empty: as in its configuration, or the simulation's.",
    ),
}
OVERRIDES = {
    "embodiment": "Robot: name of a shipped robot file, or path of a .yaml or .yml file.",
    "embodiment_parameters": "Parameters of the robot file as [key=value], for example [arm=fr3].",
    "policy": "dreamzero: the model; hold: asks the arm to stay, for first contact; wave: moves it gently; "
    "replay: of a recording.",
    "recording": "For replay: a run.json of the demo.",
    "dry_run": "true: everything but commands. First step with a robot.",
    "checkpoint": "Weights: a folder or a hub id in the reference release's layout.",
    "random_weights": "Instead of a checkpoint: tiny, bench, wan22_5b or wan21_14b, untrained, for trials.",
    "device": "Torch device of the model: cuda, cuda:1 or cpu; several with commas share it: cuda:0,cuda:1.",
    "dtype": "Number format of the model: bfloat16 on GPUs, float32 on CPUs.",
    "linear_format": "Of the model's large layers: native, fp8, nvfp4 or fp8_weights, for smaller GPUs.",
    "offload_text_encoder": "true: the text encoder rests in main memory, for smaller GPUs.",
    "dit_steps": "Denoising steps of 16 that run the transformer: 5 to 8, 16, dynamic, or 1 alone.",
    "speedups": "What the engine does to be fast: exact, full, eager, or names with commas.",
    "speed_scale": "Speed at which chunks are executed, 1.0 as the model was trained; less for first runs.",
    "command_output": "How controllers are commanded: topic, or action for FollowJointTrajectory goals.",
}
"""Parameters of the policy node; an argument that is left empty keeps the value of `params_file`."""

TYPES = {
    "embodiment_parameters": list[str],
    "dry_run": bool,
    "offload_text_encoder": bool,
    "use_sim_time": bool,
    "autostart": bool,
    "speed_scale": float,
}
"""Parameters that are no text."""
OF_THE_ROBOT = ("embodiment", "embodiment_parameters")
"""Parameters that the simulation shares."""
SWITCHES = ("sim", "autostart", "use_sim_time", "rviz")
"""Arguments that are true or false."""


def generate_launch_description() -> LaunchDescription:
    """What differs per deployment as arguments; everything else is in `params_file`."""
    choices = {name: ["true", "false"] for name in SWITCHES}
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices.get(name))
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
    robot = _robot(context, given)
    simulated, shown = given["sim"] == "true", given["rviz"] == "true"
    active = {"autostart": _parameter("autostart")}
    nodes = [_node("policy_node", given, [given["params_file"], values, clock, active])]
    if simulated:
        shared = {name: ParameterValue(getattr(robot, name), value_type=_type(name)) for name in OF_THE_ROBOT}
        started = {"autostart": True, "publish_description": not shown}
        nodes.append(_node("sim_node", given, [shared, clock, started]))
    if simulated and shown:
        description = {"robot_description": ParameterValue(describe(robot.load()), value_type=str)}
        nodes.append(
            _node("robot_state_publisher", given, [description, clock], package="robot_state_publisher")
        )
    if shown:
        frame = given["rviz_frame"] or (ROOT if simulated else "")
        words = ["-d", _rviz_config(given, robot), *(("-f", frame) if frame else ())]
        nodes.append(_node("rviz2", given, [clock], words, package="rviz2"))
    if given["instruction"]:
        nodes.append(_node("run", given, [clock], [given["instruction"]]))
    return nodes


def _robot(context: LaunchContext, given: dict[str, str]) -> RobotParameters:
    """The robot of the policy node: as given, else as in `params_file`."""
    known = {}
    for name, section in yaml.safe_load(Path(given["params_file"]).read_text(encoding="utf-8")).items():
        if name.split("/")[-1] in ("policy_node", "**"):
            known |= section["ros__parameters"]
    known |= {name: _parameter(name).evaluate(context) for name in OF_THE_ROBOT if given[name]}
    return RobotParameters(**{name: known[name] for name in OF_THE_ROBOT if name in known})


def _rviz_config(given: dict[str, str], robot: RobotParameters) -> str:
    folder, name = SHARE / "config" / "rviz", Path(robot.embodiment).stem
    path = Path(given["rviz_config"] or folder / f"{name}.rviz")
    if not path.is_file():
        raise FileNotFoundError(
            f"no RViz configuration {path}: name yours with rviz_config:=<file>, begin with one in {folder}"
        )
    return str(path)


def _parameter(name: str) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(name), value_type=_type(name))


def _type(name: str) -> type:
    return TYPES.get(name, str)


def _node(
    executable: str,
    given: dict[str, str],
    parameters: list,
    words: Sequence[str] = (),
    package: str = PACKAGE,
) -> Node:
    return Node(
        package=package,
        executable=executable,
        name=None if executable == "run" else executable,
        namespace=given["namespace"],
        parameters=parameters,
        arguments=list(words),
        output="screen",
        sigterm_timeout=str(PATIENCE_S),
    )
