# SPDX-License-Identifier: Apache-2.0
"""The stage timer."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.timing import StageTimer

pytestmark = pytest.mark.cpu


def test_stages_add_up(monkeypatch):
    clock = iter([1.0, 3.0, 10.0, 14.0, 20.0, 21.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    timer = StageTimer(torch.device("cpu"))
    for name in ("encode", "denoise", "encode"):
        with timer.stage(name):
            pass
    assert timer.seconds() == {"encode": 3.0, "denoise": 4.0}
