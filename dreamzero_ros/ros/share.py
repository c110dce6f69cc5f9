# SPDX-License-Identifier: Apache-2.0
"""Where launch and configuration files are, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

SOURCE = Path(__file__).resolve().parents[2]


def share() -> Path:
    """Folder that holds `config/` and `launch/`: the checkout that runs, else the installed share folder."""
    if (SOURCE / "package.xml").is_file():
        return SOURCE
    try:
        return Path(get_package_share_directory("dreamzero_ros"))
    except PackageNotFoundError as error:
        raise FileNotFoundError(
            f"no share folder of dreamzero_ros in {error}: build it with colcon and source "
            "install/setup.bash, or run from a checkout"
        ) from error
