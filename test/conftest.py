# SPDX-License-Identifier: Apache-2.0
"""Tiers, seeds and the reference vectors for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TIERS = {"cpu", "ros", "gpu"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a test that does not carry exactly one tier."""
    wrong = [item.nodeid for item in items if len(TIERS & {mark.name for mark in item.iter_markers()}) != 1]
    if wrong:
        raise pytest.UsageError(f"exactly one of {sorted(TIERS)} must mark each test, not so: {wrong}")


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of the reference vectors: DREAMZERO_GOLDENS, else the committed copy."""
    return Path(os.environ.get("DREAMZERO_GOLDENS", Path(__file__).parent / "goldens"))
