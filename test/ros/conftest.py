# SPDX-License-Identifier: Apache-2.0
"""Skips tests that need ROS where it is missing, and gives each module a ROS domain of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

try:
    import dreamzero_msgs
    import rclpy  # noqa: F401
except ImportError as error:
    MISSING = f"needs rclpy and the generated dreamzero_msgs (make setup): {error}"
else:
    MISSING = ""
    del dreamzero_msgs


class _Skipped(pytest.Module):
    """A module that cannot even be imported."""

    def collect(self) -> None:
        pytest.skip(MISSING, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skips modules of the tier `ros` where ROS is missing."""
    if MISSING and "pytest.mark.ros" in module_path.read_text(encoding="utf-8"):
        return _Skipped.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="session")
def _this_machine_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The test process takes part in the graphs: it needs the environment of their processes."""
    from dreamzero_ros.ros.isolation import graph_environment, reserved_domain

    with pytest.MonkeyPatch.context() as patch, reserved_domain() as domain:
        environment = graph_environment(domain, str(tmp_path_factory.mktemp("ros_log")))
        for name in environment.keys() - os.environ.keys():
            patch.setenv(name, environment[name])
        yield


@pytest.fixture(scope="module")
def graph(_this_machine_only: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A `ros_graph.Graph`, ended after the last test of the module."""
    from ros_graph import Graph

    with Graph(tmp_path_factory.mktemp("graph")) as made:
        yield made
