# SPDX-License-Identifier: Apache-2.0
"""The two packages and their interfaces, as files."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.cpu

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "msg").glob("*/*.msg")) + sorted((ROOT / "msg").glob("*/*.srv"))
FILES += sorted((ROOT / "msg").glob("*/*.action"))

needs_colcon = pytest.mark.skipif(
    importlib.util.find_spec("colcon_ros") is None,
    reason="colcon is not installed: requirements/dev.txt",
)


def test_there_are_interfaces() -> None:
    assert {path.stem for path in FILES} == {"Chunk", "PolicyStatus", "RunPolicy", "SetInstruction"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_field_has_a_comment(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    bare = [line for line in lines if line != "---" and not re.search(r"\s# \S", line)]
    assert not bare


def test_every_interface_is_generated() -> None:
    listed = set(
        re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', (ROOT / "msg" / "CMakeLists.txt").read_text())
    )
    assert listed == {path.relative_to(ROOT / "msg").as_posix() for path in FILES}


def test_versions_agree() -> None:
    versions = {
        "package.xml": ElementTree.parse(ROOT / "package.xml").findtext("version"),
        "msg/package.xml": ElementTree.parse(ROOT / "msg" / "package.xml").findtext("version"),
        "setup.py": _first(r'version="([^"]+)"', ROOT / "setup.py"),
        "msg/pyproject.toml": _first(r'^version = "([^"]+)"', ROOT / "msg" / "pyproject.toml"),
    }
    assert len(set(versions.values())) == 1, versions


def test_every_command_has_its_module() -> None:
    commands = re.findall(r'f"[\w-]+ = \{NAME\}\.([\w.]+):main"', (ROOT / "setup.py").read_text())
    assert len(commands) >= 5
    for module in commands:
        assert (ROOT / "dreamzero_ros" / f"{module.replace('.', '/')}.py").is_file(), module


@needs_colcon
def test_colcon_sees_both_packages(tmp_path: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "colcon", "--log-base", tmp_path, "list", "--names-only"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(listed.stdout.split()) == {"dreamzero_msgs", "dreamzero_ros"}


@needs_colcon
def test_after_a_build_typed_commands_are_on_the_path_and_nodes_where_ros2_run_looks(tmp_path: Path) -> None:
    """`dreamzero-evaluate` of the README was not found after `source install/setup.bash`."""
    bases = ["--build-base", tmp_path / "build", "--install-base", tmp_path / "install"]
    words = ["--base-paths", ROOT, "--packages-select", "dreamzero_ros", *bases]
    subprocess.run(
        [sys.executable, "-m", "colcon", "--log-base", tmp_path / "log", "build", *words],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    asked = (
        f'source "{tmp_path}/install/setup.bash" && command -v dreamzero-evaluate dreamzero-bench '
        "&& dreamzero-evaluate --help"
    )
    found = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    prefix = tmp_path / "install" / "dreamzero_ros"
    assert found.stdout.startswith(f"{prefix}/bin/dreamzero-evaluate\n{prefix}/bin/dreamzero-bench\nusage:")
    nodes = prefix / "lib" / "dreamzero_ros"
    names = set(re.findall(r'f"([\w-]+) = \{NAME\}', (ROOT / "setup.py").read_text()))
    typed = {"dreamzero-evaluate", "dreamzero-bench"}
    assert {path.name for path in (prefix / "bin").iterdir()} == typed
    assert {path.name for path in nodes.iterdir()} == names - typed
    assert (nodes / "policy_node").read_text().startswith(f"#!{sys.executable}\n")


def test_every_source_file_names_its_licence() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kinds = {".py", ".yaml", ".toml", ".xml", ".cfg", ".txt"}
    bare = [
        name
        for name in tracked.split()
        if Path(name).suffix in kinds
        and not name.startswith(("test/goldens/", "requirements/"))
        and "SPDX-License-Identifier: Apache-2.0" not in (ROOT / name).read_text()[:400]
    ]
    assert not bare


def _first(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text(), re.MULTILINE)
    assert found is not None, f"{path}: no {pattern}"
    return found.group(1)
