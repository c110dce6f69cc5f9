# SPDX-License-Identifier: Apache-2.0
"""Robot files that are shaped like the other robots of this model."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def robots() -> Path:
    """Folder of the test-only robot files."""
    return Path(__file__).parent / "robots"
