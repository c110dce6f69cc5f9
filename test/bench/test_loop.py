# SPDX-License-Identifier: Apache-2.0
"""The console of the bench refuses in words what cannot be measured."""

from __future__ import annotations

import pytest

from dreamzero_ros.bench.loop import measure

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--ladder", "--device", "cpu,cpu"], "--ladder: expected one device, got cpu,cpu"),
        (["--switches", "exakt"], "unknown speed-up 'exakt'"),
        (["--linear-format", "nvfp4"], "linear format 'nvfp4' needs"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        measure(words)
    assert ended.value.code == 2
    assert f"dreamzero-bench: error: {reason}" in capsys.readouterr().err
