# SPDX-License-Identifier: Apache-2.0
"""The report of three small episodes, one of them from a bag that would break careless pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from episodes import make_episode, waves
from reports import HOSTILE, make_report

from dreamzero_ros.evaluation.episode import Floats

CALLS, REFUSED = 40, 12
"""Of the first episode: its calls, and the one whose chunk was refused."""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the finished report, with the content of its report.json in it."""
    common: dict[str, Any] = {"policy": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    used = np.where(np.arange(CALLS) == REFUSED, 0, 21)
    episodes = {
        "session1-000": make_episode(predicted=_nearly, calls=CALLS, used=used, **common),
        "session 1 #2 50%?-001": make_episode(
            bag=HOSTILE, instruction=HOSTILE, holds={HOSTILE: 3}, notices=(HOSTILE,), **common
        ),
        "session2-000": make_episode(calls=1, **common),
    }
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.json").write_text(json.dumps(make_report(folder, episodes), allow_nan=False))
    return folder


@pytest.fixture(scope="session")
def summary(report: Path) -> dict[str, Any]:
    """Content of report.json."""
    content: dict[str, Any] = json.loads((report / "report.json").read_text())
    return content


def _nearly(t_s: Floats) -> Floats:
    return waves(t_s) + 0.02 * np.sin(9 * t_s[..., None])
