# SPDX-License-Identifier: Apache-2.0
"""Tiers, figures and the reference vectors for every test."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dreamzero_ros.bench.gpu.goldens import goldens_folder

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run at a time, and their tensors are small
pytest.register_assert_rewrite("closed_loop")
ANYWHERE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("usual", max_examples=40, **ANYWHERE)
settings.register_profile("thorough", max_examples=200, **ANYWHERE)
settings.load_profile("usual")

TIERS = {"cpu", "ros", "gpu"}

FIGURE = "figure"
"""Name of the property of a test report that holds a line of figures."""


def pytest_configure(config: pytest.Config) -> None:
    """Tries more examples where all tests run (`make test-all`)."""
    if not config.option.markexpr:
        settings.load_profile("thorough")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collects test files as pytest alone does, whatever plugins are installed.

    That of launch_testing, which every ROS machine has, imports each file by its bare name first: files of
    equal names in two folders, and a file that skips itself, would end the collection of their whole folder.
    """
    return pytest.Module.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a test that does not carry exactly one tier."""
    wrong = [item.nodeid for item in items if len(TIERS & {mark.name for mark in item.iter_markers()}) != 1]
    if wrong:
        raise pytest.UsageError(f"exactly one of {sorted(TIERS)} must mark each test, not so: {wrong}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have measured, and in one line what those that were skipped need."""
    passed, skipped = (terminalreporter.stats.get(kind, []) for kind in ("passed", "skipped"))
    lines = [line for report in passed for name, line in report.user_properties if name == FIGURE]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped}
    if reasons:
        terminalreporter.section("what skipped tests need")
        terminalreporter.write_line("; ".join(sorted(reasons)))


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Call with a name, its unit in brackets, and a value: the line stands at the end of the output."""
    return lambda name, value: record_property(FIGURE, f"{name:<80}{value:>12.4g}")


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of the reference vectors: DREAMZERO_GOLDENS, else the committed copy."""
    return goldens_folder()
