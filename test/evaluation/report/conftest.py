# SPDX-License-Identifier: Apache-2.0
"""The report of three small episodes, one of them from a bag that would break careless pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from episodes import make_episode, waves
from reports import HOSTILE, make_report

from dreamzero_ros.evaluation.episode import Floats

CALLS, REFUSED = 40, 12
"""Of the first episode: its calls, and the one whose chunk was refused."""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the finished report."""
    used = np.where(np.arange(CALLS) == REFUSED, 0, 21)
    episodes = {
        "session1-000": make_episode(predicted=_nearly, calls=CALLS, used=used),
        "session 1 #2 50%?-001": make_episode(
            bag=HOSTILE,
            instruction=HOSTILE,
            policy=HOSTILE,
            settings={HOSTILE: HOSTILE},
            holds={HOSTILE: 3},
            notices=(HOSTILE,),
        ),
        "session2-000": make_episode(calls=1),
    }
    folder = tmp_path_factory.mktemp("report")
    make_report(folder, episodes)
    return folder


def _nearly(t_s: Floats) -> Floats:
    return waves(t_s) + 0.02 * np.sin(9 * t_s[..., None])
