# SPDX-License-Identifier: Apache-2.0
"""Nodes and commands are there soon: what they do not need is not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    "module", ["policy_node", "sim_node", "footage_node", "demo", "run_command", "check.command"]
)
def test_the_model_is_imported_where_a_policy_is_made(module: str) -> None:
    """It takes seconds; stand-ins and --help go without."""
    program = f"import sys, dreamzero_ros.ros.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
