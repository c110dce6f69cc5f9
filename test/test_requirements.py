# SPDX-License-Identifier: Apache-2.0
"""What comes from pip and what from the distribution, on a bare machine and on a robot machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.cpu

ROOT = Path(__file__).parents[1]
FROM_APT = {
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "opencv-python-headless": "python3-opencv",
    "PyYAML": "python3-yaml",
    "Jinja2": "python3-jinja2",
    "matplotlib": "python3-matplotlib",
}
"""rosdep keys of what `python.txt` adds to `common.txt`."""


def names(file: str) -> set[str]:
    """Packages that a requirements file names itself."""
    return set(re.findall(r"^([\w-]+)[=<>]", (ROOT / "requirements" / file).read_text(), re.MULTILINE))


def test_what_pip_leaves_to_the_distribution_is_named_in_the_manifest() -> None:
    assert names("python.txt") == set(FROM_APT)
    keys = {entry.text for entry in ElementTree.parse(ROOT / "package.xml").iter("exec_depend")}
    assert set(FROM_APT.values()) <= keys


def test_what_is_kept_beside_jazzy_is_not_pinned_otherwise() -> None:
    assert {"numpy", "scipy", "opencv-python-headless"} <= names("jazzy.txt")
    assert not names("jazzy.txt") & names("common.txt")


def test_launch_files_need_nothing_from_pip() -> None:
    """`ros2 launch` runs them in the system's Python, whatever the nodes run in."""
    text = (ROOT / "launch" / "robot.launch.py").read_text()
    own = "\n".join(re.findall(r"^from dreamzero_ros.*", text, re.MULTILINE))
    modules = {"skimage" if name == "scikit-image" else name for name in names("common.txt")}
    program = f"""
import sys
sys.modules.update(dict.fromkeys({modules}))
{own}
for robot in ("droid_franka", "agibot_g1", "yam"):
    describe(RobotParameters(embodiment=robot).load())
"""
    subprocess.run([sys.executable, "-c", program], check=True)
