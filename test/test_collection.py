# SPDX-License-Identifier: Apache-2.0
"""The suite is collected whole where plugins of ROS machines are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cpu

CONFTEST = Path(__file__).with_name("conftest.py")
PLUGIN = """
from _pytest.pathlib import import_path

def pytest_pycollect_makemodule(module_path, parent):
    import_path(module_path, root=None, consider_namespace_packages=False)
"""
"""The first thing that the plugin of launch_testing (Jazzy, 3.4.3) does with a test file."""
FILES = {
    "one/test_same.py": "import pytest\npytestmark = pytest.mark.cpu\ndef test_here(): pass\n",
    "one/test_skipped.py": "import pytest\npytest.skip('not on this machine', allow_module_level=True)\n",
    "two/test_same.py": "import pytest\npytestmark = pytest.mark.cpu\ndef test_there(): pass\n",
    "two/test_lacking.py": "import pytest\npytest.importorskip('no_such_module')\n",
}


def test_equal_names_and_skipped_files_leave_the_others_in(tmp_path: Path) -> None:
    """With launch_testing installed, `pytest test/ros` once collected nothing and was green."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "as_launch_testing.py").write_text(PLUGIN)
    shutil.copy(CONFTEST, tmp_path)
    words = ["-q", "--collect-only", "--import-mode=importlib", "-p", "as_launch_testing"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, f"--rootdir={tmp_path}", *words, str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    ids = {line for line in found.stdout.splitlines() if "::" in line}
    assert ids == {"one/test_same.py::test_here", "two/test_same.py::test_there"}, found.stdout + found.stderr
