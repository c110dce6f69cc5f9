# SPDX-License-Identifier: Apache-2.0
"""The command line of the GPU report refuses in words what it cannot do."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.bench.command import main

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--device", "gpu"], "expected cuda, cuda:1 or cpu"),
        (["--device", "cpu", "--stages", "device,speed"], "--stages: expected some of device,correctness"),
        pytest.param(
            [],
            "'cuda', but torch sees no CUDA devices; for a trial without a GPU: --device cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here"),
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gpu", *words])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
