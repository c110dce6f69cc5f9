# SPDX-License-Identifier: Apache-2.0
"""ROS packages that only some set-ups need."""

from __future__ import annotations

import os


def apt_install(package: str) -> str:
    """The command that installs a ROS package, for the distribution that is sourced."""
    return f"apt install ros-{os.environ.get('ROS_DISTRO', 'jazzy')}-{package.replace('_', '-')}"
