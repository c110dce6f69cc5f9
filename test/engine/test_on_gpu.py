# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can show: the correctness stage of the GPU report, which says what it compares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dreamzero_ros.bench.gpu.child import measure_stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


def test_the_engine_is_right_on_a_gpu(tmp_path: Path) -> None:
    out = tmp_path / "stage.json"
    measure_stage("dreamzero_ros.bench.gpu.correctness:correctness", torch.device("cuda"), "large", out)
    told = json.loads(out.read_text())
    wrong = [check for result in told["results"] for check in result["checks"] if not check["right"]]
    assert told["status"] == "passed", wrong
