# SPDX-License-Identifier: Apache-2.0
"""The engine's bench measures what it says, on any number of steps and with any switches."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from spawned import ranks_of

from dreamzero_ros.engine.bench import Setting, add_arguments, ladder, measure, sampler
from dreamzero_ros.engine.bench_report import print_table
from dreamzero_ros.engine.parallel import RankError
from dreamzero_ros.engine.switches import EAGER, FULL

pytestmark = pytest.mark.cpu

WIDTH = 100


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("8", (16, 8)),
        ("dynamic", (16, "dynamic")),
        ("16", (16, 16)),
        ("1", (1, 1)),
    ],
)
def test_any_number_of_steps_has_a_sampler(steps: str, expected: tuple[int, int | str]) -> None:
    found = sampler(steps)
    assert (found.num_steps, found.dit_steps) == expected


def test_the_ladder_goes_from_none_to_all_and_ends_with_what_is_not_exact() -> None:
    """Graphs are a rung on GPUs alone."""
    for device, most in (("cpu", FULL), ("cuda", replace(FULL, graphs=True))):
        rungs = ladder(torch.device(device), "fp8")
        exact = [rung for rung in rungs if rung.linear_format == "native"]
        assert (exact[0].switches, exact[-1].switches) == (EAGER, most)
        assert [rung.ahead for rung in exact] == [False] * (len(exact) - 1) + [True]
        assert [rung.name for rung in rungs[len(exact) :]] == ["+ fp8 layers", "+ float8_cache"]
        assert rungs[-1].switches == replace(most, float8_cache=True)
        names = [rung.name for rung in rungs if rung.name != "+ fp8 layers"]
        assert [rung.name for rung in ladder(torch.device(device))] == names


def measured(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return measure(parser.parse_args(["--steps", "2", "--calls", "2", *words]))


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return measured()


def test_both_kinds_of_calls_are_timed_by_stage(report: dict[str, Any]) -> None:
    (rung,) = report["rungs"]
    begin, proceed = rung["begin_s"], rung["continue_s"]
    assert begin.keys() == {"text", "image", "denoise", "chunk", "decode"}
    assert proceed.keys() == {"text", "video_encode", "denoise", "chunk", "decode"}
    for stages in (begin, proceed):
        within = sum(times["median"] for stage, times in stages.items() if stage not in ("chunk", "decode"))
        assert 0 < within <= 1.1 * stages["chunk"]["median"]
        assert all(times["median"] <= times["p90"] <= times["p99"] for times in stages.values())
    assert rung["computed_steps"] == 2
    assert rung["chunks_per_s"] == pytest.approx(
        2 / (begin["chunk"]["median"] + proceed["chunk"]["median"]), rel=0.5
    )
    assert 0 < rung["share_of_peak"] < 1


def test_the_report_is_one_line_of_json_and_a_table(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(json.dumps(report)) == report
    print_table(report)
    table = capsys.readouterr().out
    assert "tiny with random weights, float32, cpu" in table
    assert "speed-ups: shared_times, " in table and "attention: " not in table
    assert all(stage in table for stage in ("denoise", "video_encode", "chunk", "peak memory"))
    assert max(map(len, table.splitlines())) <= WIDTH


@pytest.mark.slow
def test_devices_share_a_session_and_the_table_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    report = measured("--device", "cpu,cpu", "--switches", "eager")
    print_table(report)
    assert "on 2 devices: guidance split" in capsys.readouterr().out
    (rung,) = report["rungs"]
    assert rung["computed_steps"] == 2 and rung["continue_s"]["chunk"]["median"] > 0
    assert not ranks_of(os.getpid())


def test_a_device_that_does_nothing_ends_the_bench_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RankError, match=r"^rank 1 on cpu ended with code 1$"):
        measured("--device", "cpu,cpu")


def test_a_ladder_is_for_one_device() -> None:
    with pytest.raises(ValueError, match="--ladder: expected one device, got cpu,cpu; measure --switches"):
        measured("--device", "cpu,cpu", "--ladder")


def test_a_ladder_tells_ratio_and_error_of_every_rung(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, *_, exact = (rung for rung in ladder(torch.device("cpu")) if not rung.switches.compile)
    short = [plain, exact]
    short.append(Setting("+ images ahead", short[-1].switches, ahead=True))
    short.append(Setting("+ float8_cache", replace(short[-1].switches, float8_cache=True)))
    monkeypatch.setattr("dreamzero_ros.engine.bench.ladder", lambda *_: short)
    report = measured("--ladder")
    assert [rung["name"] for rung in report["rungs"]] == [rung.name for rung in short]
    assert report["rungs"][0]["action_error"] == 0
    *exact, rounded = (rung["action_error"] for rung in report["rungs"][1:])
    assert all(error < 1e-4 for error in exact)
    assert 1e-4 < rounded < 0.1
    print_table(report)
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= WIDTH
    assert all(rung.name in table for rung in short)
    assert re.search(r"\nspeed-ups: [^.]*pick_attention.*;\sattention:\s\w+\s[\d.]+\sms", table), table
