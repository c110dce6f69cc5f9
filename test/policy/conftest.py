# SPDX-License-Identifier: Apache-2.0
"""How the model runs here."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Run on one thread: small operators gain nothing from two, and lose much where a core is busy."""
    torch.set_num_threads(1)
