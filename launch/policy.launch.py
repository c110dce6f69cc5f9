# SPDX-License-Identifier: Apache-2.0
"""Starts the policy node for one robot; the controllers and cameras are the robot's own.

ros2 launch dreamzero_ros policy.launch.py checkpoint:=<folder or hub id>
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(get_package_share_directory("dreamzero_ros"))

ARGUMENTS = {
    "namespace": ("", "Namespace of the node and of all its relative topics."),
    "params_file": (str(SHARE / "config" / "policy_node.yaml"), "Parameters of the node, all with comments."),
    "autostart": ("true", "Configure and activate at start-up; nothing moves before a run."),
    "use_sim_time": ("false", "Take the time from /clock, for simulations and recordings."),
}
OVERRIDES = {
    "embodiment": "Robot: name of a shipped robot file, or path of a .yaml file.",
    "policy": "dreamzero, or hold: asks the arm to stay, for first contact with a robot.",
    "checkpoint": "Weights: a folder or a hub id in the reference release's layout.",
    "random_weights": "Instead of a checkpoint: tiny, wan22_5b or wan21_14b, untrained, for trials.",
    "device": "Torch device of the model: cuda, cuda:1 or cpu.",
    "dtype": "Number format of the model: bfloat16 on GPUs, float32 on CPUs.",
}
SWITCHES = ("autostart", "use_sim_time")


def generate_launch_description() -> LaunchDescription:
    """The policy node with what differs per deployment as arguments."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value="", description=f"{text} Empty: as in params_file.")
        for name, text in OVERRIDES.items()
    ]
    profile = SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", str(SHARE / "config" / "fastdds.xml"))
    return LaunchDescription([*arguments, profile, OpaqueFunction(function=_policy_node)])


def _policy_node(context: LaunchContext) -> list[Node]:
    """The node; an argument that was left empty keeps the value of the parameter file."""
    given = {name: LaunchConfiguration(name).perform(context) for name in OVERRIDES}
    values = {name: ParameterValue(text, value_type=str) for name, text in given.items() if text}
    values |= {name: ParameterValue(LaunchConfiguration(name), value_type=bool) for name in SWITCHES}
    return [
        Node(
            package="dreamzero_ros",
            executable="policy_node",
            name="policy_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), values],
            output="screen",
        )
    ]
