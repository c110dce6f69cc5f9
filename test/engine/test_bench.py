# SPDX-License-Identifier: Apache-2.0
"""The engine's bench measures what it says, on any number of steps."""

from __future__ import annotations

import argparse
import json

import pytest

from dreamzero_ros.engine.bench import add_arguments, measure, print_table, sampler
from dreamzero_ros.engine.config import SamplerConfig

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("8", SamplerConfig(dit_steps=8)),
        ("dynamic", SamplerConfig(dit_steps="dynamic")),
        ("16", SamplerConfig(num_steps=16, dit_steps=16)),
        ("1", SamplerConfig(num_steps=1, dit_steps=1)),
    ],
)
def test_any_number_of_steps_has_a_sampler(steps: str, expected: SamplerConfig) -> None:
    assert sampler(steps) == expected


@pytest.fixture(scope="module")
def report() -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return measure(parser.parse_args(["--steps", "2", "--calls", "4"]))


def test_both_kinds_of_calls_are_timed_by_stage(report: dict[str, object]) -> None:
    begin, proceed = report["begin_s"], report["continue_s"]
    assert isinstance(begin, dict)
    assert isinstance(proceed, dict)
    assert begin.keys() == {"text", "image", "prefill", "denoise", "chunk", "decode"}
    assert proceed.keys() == {"text", "video_encode", "prefill", "denoise", "chunk", "decode"}
    assert begin["image"] > 0
    assert proceed["video_encode"] > 0
    assert report["computed_steps"] == 2
    assert report["calls"] == 4


def test_the_report_is_one_line_of_json_and_a_table(
    report: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(json.dumps(report)) == report
    print_table(report)
    table = capsys.readouterr().out
    assert "tiny with random weights, float32, cpu" in table
    assert all(stage in table for stage in ("denoise", "video_encode", "chunk", "peak memory of the process"))
