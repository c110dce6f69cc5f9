# SPDX-License-Identifier: Apache-2.0
"""Imports go down the levels only; this table is the map of the package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.cpu

PACKAGE = Path(__file__).parents[1] / "dreamzero_ros"

ALLOWED = {
    "embodiment": set(),
    "engine": set(),
    "motion": set(),
    "kinematics": set(),
    "observation": {"embodiment"},
    "policy": {"embodiment", "engine", "motion", "observation"},
    "sim": {"embodiment"},
    "training": {"embodiment", "engine"},
    "evaluation": {"embodiment", "kinematics", "motion", "observation", "policy", "sim"},
    "bench": {"embodiment", "engine", "motion", "observation", "policy"},
    "ros": {
        "bench",
        "embodiment",
        "engine",
        "evaluation",
        "kinematics",
        "motion",
        "observation",
        "policy",
        "sim",
    },
}
"""Folder -> folders that it may import besides itself."""

THIRD_PARTY = {
    "embodiment": {"numpy", "yaml", "ftfy"},
    "observation": {"numpy", "cv2"},
    "engine": {
        "torch",
        "torchao",
        "accelerate",
        "safetensors",
        "diffusers",
        "transformers",
        "huggingface_hub",
        "tqdm",
        "yaml",
        "numpy",
        "rich",
    },
    "motion": {"numpy", "scipy"},
    "kinematics": {"numpy", "pinocchio", "scipy"},
    "policy": {"numpy", "torch", "yaml"},
    "sim": {"numpy", "cv2"},
    "training": {"torch"},
    "bench": {"numpy", "torch"},
    "evaluation": {
        "numpy",
        "scipy",
        "cv2",
        "skimage",
        "rosbags",
        "mcap",
        "zstandard",
        "yaml",
        "rich",
        "tqdm",
        "jinja2",
        "markupsafe",
        "ray",
    },
}
"""Folder -> packages that it may import; `ros` may import all of them and ROS."""

STANDARD = sys.stdlib_module_names


def imports(path: Path) -> Iterator[str]:
    """Every dotted module name that a file imports, lazy imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def violations(path: Path, folder: str) -> Iterator[str]:
    for name in imports(path):
        package, _, rest = name.partition(".")
        inner = rest.partition(".")[0]
        if package == "dreamzero_ros":
            if inner != folder and inner not in ALLOWED[folder]:
                yield f"{path.relative_to(PACKAGE)} imports {name}"
        elif package not in STANDARD and folder != "ros" and package not in THIRD_PARTY[folder]:
            yield f"{path.relative_to(PACKAGE)} imports {package}"


def test_every_folder_is_in_the_table() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ALLOWED)


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_go_down(folder: str) -> None:
    found = [text for path in sorted((PACKAGE / folder).rglob("*.py")) for text in violations(path, folder)]
    assert not found


def test_the_interfaces_have_one_importer() -> None:
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith("dreamzero_msgs") for name in imports(path))
    }
    assert importers == {"ros/interfaces.py"}


def test_a_violation_is_found() -> None:
    """The check itself: a lazy import upwards and a ROS import below `ros` must show."""
    assert list(violations(PACKAGE / "policy" / "rollout.py", "motion"))
    assert list(violations(PACKAGE / "ros" / "qos.py", "policy"))
