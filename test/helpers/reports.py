# SPDX-License-Identifier: Apache-2.0
"""Reports of episodes made by hand, with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dreamzero_ros.evaluation.episode import Episode, save
from dreamzero_ros.evaluation.report.write import write_report

HOSTILE = "</script><script>broken = 1</script><img src=x onerror='broken = 2'>\"&amp;{{ 7 * 7 }}`|\n# x"
"""What a bag may hold where a name, an instruction or a reason is expected."""
DREAMED_EVERY = 2
"""Of the pictures every so manyth has a dreamed one."""
WORST_S = (1.7, 2.2)
"""Worst moments of each episode [s]."""


def make_report(folder: Path, episodes: Mapping[str, Episode], **other: Any) -> dict[str, Any]:
    """Saves episodes with pictures, writes their report, and returns what it was made of.

    Args:
        folder: Of the evaluation.
        episodes: By id.
        other: Entries of the summary to be put in place of those made here.
    """
    folders = {name: folder / "episodes" / name for name in episodes}
    for name, episode in episodes.items():
        save_pictures(folders[name], len(episode.pictures_ns))
        save(episode, folders[name])
    summary = make_summary(episodes) | other
    write_report(folder, summary, folders.items())
    return summary


def save_pictures(folder: Path, count: int) -> None:
    """A bright bar that moves over a dark ground, and the same in another colour as the dream."""
    for kind, colour, every in (("observed", (80, 160, 240), 1), ("dreamed", (240, 120, 120), DREAMED_EVERY)):
        (folder / kind).mkdir(parents=True)
        for index in range(0, count, every):
            picture = np.full((90, 160, 3), 40, np.uint8)
            picture[:, 5 * index % 150 :][:, :10] = colour
            cv2.imwrite(str(folder / kind / f"{index:06d}.jpg"), picture)


def make_summary(episodes: Mapping[str, Episode]) -> dict[str, Any]:
    """Content of report.json, with the numbers that no test looks at made up."""
    first = next(iter(episodes.values()))
    steps = first.calls.targets.shape[1]
    errors = {name: [0.1] * steps for name in ("rmse", "hold", "repeat")}
    return {
        "version": 1,
        "policy": first.policy,
        "embodiment": first.embodiment,
        "settings": dict(first.settings),
        "reference": first.reference,
        "metrics": make_metrics(),
        "joints": {j: _joint(u) for j, u in zip(first.joints, first.units, strict=True)},
        "stages": {stage: {"p50": 0.03, "p90": 0.04, "p99": 1.2} for stage in first.stages},
        "horizon": {"step": list(range(1, steps + 1)), **errors},
        "dream": {"psnr": [25.0, 22.5, None, 20.0], "ssim": [0.9, 0.8, None, 0.7]},
        "episodes": [_row(name, episode) for name, episode in episodes.items()],
        "worst": [
            {"episode": name, "call": k, "at_s": at_s, "rmse": 0.2}
            for name in episodes
            for k, at_s in enumerate(WORST_S)
        ],
        "holds": {reason: count for e in episodes.values() for reason, count in e.holds.items()},
        "failed": [{"bag": f"broken {HOSTILE}", "error": HOSTILE}],
        "notices": [HOSTILE],
    }


def make_metrics() -> dict[str, Any]:
    """One metric of each kind: with and without interval, baselines and value."""
    return {
        "rmse": _metric(0.0421, "rad", "lower", hold=0.113, repeat=0.0876),
        "direction": _metric(0.871, "ratio", "higher", repeat=0.93),
        "gripper_accuracy": _metric(0.96, "ratio", "higher", hold=0.9, repeat=0.91),
        "raw_jerk": _metric(1234.5, "rad/s^3", "lower"),
        "deadline_misses": _metric(0.02, "ratio", "lower"),
        "latency_p50": _metric(0.312, "s", "lower"),
        "latency_p99": _metric(1.21, "s", "lower"),
        "psnr": _metric(22.0, "dB", "higher") | {"low": None, "high": None},
        "ee_position_mm": _metric(None, "mm", "lower"),
    }


def _metric(
    value: float | None,
    unit: str,
    better: str,
    hold: float | None = None,
    repeat: float | None = None,
) -> dict[str, Any]:
    return {
        **_estimate(value),
        "unit": unit,
        "better": better,
        "text": "What it means.",
        "hold": None if hold is None else _estimate(hold),
        "repeat": None if repeat is None else _estimate(repeat),
    }


def _estimate(value: float | None) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": 0.9 * value, "high": 1.1 * value}


def _joint(unit: str) -> dict[str, Any]:
    errors = dict.fromkeys(("rmse", "rmse@1", "rmse@8", "mae", "hold_rmse", "repeat_rmse"), 0.05)
    return {"unit": unit, **errors, "direction": None}


def _row(name: str, episode: Episode) -> dict[str, Any]:
    calls = len(episode.calls.captured_ns)
    return {
        "id": name,
        "bag": episode.bag,
        "number": episode.number,
        "start_ns": episode.start_ns,
        "duration_s": episode.duration_s,
        "instruction": episode.instruction,
        "calls": calls,
        "metrics": {"rmse": 1 / calls, "direction": None, "latency_p50": 0.2},
        "notices": list(episode.notices),
    }
