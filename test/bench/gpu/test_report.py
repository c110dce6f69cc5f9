# SPDX-License-Identifier: Apache-2.0
"""Everything that a GPU report measures, on a CPU: quickly, and as `make gpu-report DEVICE=cpu` does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from dreamzero_ros.bench.gpu import correctness, models
from dreamzero_ros.bench.gpu.child import measure_stage
from dreamzero_ros.bench.gpu.page import write_page
from dreamzero_ros.bench.gpu.sizes import LEAST
from dreamzero_ros.bench.gpu.stages import STAGES, Stage
from dreamzero_ros.engine import float8_cache, guidance
from dreamzero_ros.engine.bench import Setting, ladder

pytestmark = pytest.mark.cpu

CPU = torch.device("cpu")
WITHOUT_TORCHAO = {"large_model_fp8"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_measures_all_its_parts_on_a_cpu(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "ladder", short_ladder)
    if stage.name in WITHOUT_TORCHAO:
        pytest.importorskip("torchao", reason="torchao is not installed: requirements/torchao.txt")
    out = tmp_path / "stage.json"
    measure_stage(stage.parts, CPU, "least", out)
    told = json.loads(out.read_text())
    assert told["status"] == "passed", [result for result in told["results"] if not result["right"]]
    module, _, function = stage.parts.partition(":")
    expected = [part.title for part in getattr(import_module(module), function)(CPU, LEAST)]
    assert [result["part"] for result in told["results"]] == expected
    page = tmp_path / "report.md"
    write_page(page, [told | {"title": stage.title, "words": "", "seconds": 1.0}], [], "least", 1.0)
    tables = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert max(map(len, tables)) <= 100


def short_ladder(device: torch.device) -> list[Setting]:
    """The plain engine, what is exact, and the float8 cache: each rung is measured alike."""
    rungs = [rung for rung in ladder(device) if not rung.switches.compile]
    exact = rungs[-1]
    return [
        rungs[0],
        exact,
        replace(exact, name="+ float8_cache", switches=replace(exact.switches, float8_cache=True)),
    ]


def test_a_wrong_speed_up_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guidance that is a little too strong in batched passes, which is what batch_guidance computes."""
    guide = guidance.Branches._guide

    def stronger(self, flow):
        guided = guide(self, flow)
        return guided * 1.00001 if self._switches.batch_guidance else guided

    monkeypatch.setattr(guidance.Branches, "_guide", stronger)
    result = correctness.speedups_in_float32(CPU, LEAST)
    assert {check.what for check in result.checks if not check.right} >= {"exact, video"}


def test_a_wrong_scale_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        correctness, "widen", lambda x, scale, dtype: float8_cache.widen(x, 1.01 * scale, dtype)
    )
    assert not correctness.numbers_in_float8(CPU).right


@pytest.mark.slow
def test_the_report_on_a_cpu_is_whole(tmp_path: Path) -> None:
    """With compiled blocks, in processes, as a user starts it."""
    words = [sys.executable, "-m", "dreamzero_ros.bench", "gpu", "--device", "cpu", "--out", str(tmp_path)]
    ended = subprocess.run([*words, "--budget", "1200"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(f"| {stage.title}" in (tmp_path / "report.md").read_text() for stage in STAGES)
