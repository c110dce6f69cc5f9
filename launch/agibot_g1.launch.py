# SPDX-License-Identifier: Apache-2.0
"""The policy on the AgiBot G1."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

ROBOT = Path(__file__).with_name("robot.launch.py")


def generate_launch_description() -> LaunchDescription:
    """All arguments are those of robot.launch.py."""
    source = PythonLaunchDescriptionSource(str(ROBOT))
    return LaunchDescription(
        [IncludeLaunchDescription(source, launch_arguments={"embodiment": "agibot_g1"}.items())]
    )
