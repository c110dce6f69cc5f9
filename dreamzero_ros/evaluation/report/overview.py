# SPDX-License-Identifier: Apache-2.0
"""What stands on the first page of a report, in the order in which a roboticist asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dreamzero_ros.evaluation.report.chart import Line, line_chart
from dreamzero_ros.evaluation.report.numbers import duration, interval, quantity

Summary = dict[str, Any]
"""Content of report.json."""

CARDS = (
    ("rmse", "Error of the joints (RMSE)"),
    ("rmse_m", "Error of the joints that slide (RMSE)"),
    ("direction", "Right direction"),
    ("gripper_accuracy", "Gripper right"),
    ("deadline_misses", "Deadline misses"),
    ("latency_p50", "Latency, median"),
    ("latency_p99", "Latency, 99 %"),
    ("psnr", "Dream against camera (PSNR)"),
)
"""Metrics shown first, and what they are called there; one that does not exist has no card."""
BASELINES = (("hold", "hold still"), ("repeat", "repeat"))
"""Key in a metric, and its name."""
EPISODE_METRICS = (
    "rmse",
    "rmse_m",
    "direction",
    "gripper_accuracy",
    "deadline_misses",
    "latency_p50",
    "psnr",
)
"""Columns of the list of episodes."""


def overview(summary: Summary, pictures: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """Everything that the template of the first page names.

    Args:
        summary: Content of report.json.
        pictures: Picture of the worst moments as data URI, by episode and call; one may be missing.
    """
    metrics = summary["metrics"]
    total_s = sum(episode["duration_s"] for episode in summary["episodes"])
    return {
        "summary": summary,
        "embedded": summary | {"episodes": [_without_tallies(row) for row in summary["episodes"]]},
        "total": duration(total_s),
        "bags": len({episode["bag"] for episode in summary["episodes"]}),
        "cards": [_card(label, metrics[name]) for name, label in CARDS if _exists(metrics, name)],
        "metrics": [_metric_row(name, metric) for name, metric in metrics.items()],
        "baselines": BASELINES,
        "joints": _joint_table(summary["joints"]),
        "horizon": _horizon_chart(summary),
        "psnr": _dream_chart(summary["dream"]["psnr"], "PSNR [dB]"),
        "ssim": _dream_chart(summary["dream"]["ssim"], "SSIM"),
        "stages": _stages(summary["stages"]),
        "columns": [name for name in EPISODE_METRICS if _exists(metrics, name)],
        "episodes": [_episode_row(episode, metrics) for episode in summary["episodes"]],
        "worst": [_worst(moment, summary, pictures) for moment in summary["worst"]],
        "settings": flat(summary["settings"]),
    }


def episode_link(name: str) -> str:
    """From the first page to the page of an episode."""
    return f"episodes/{quote(name, safe='')}/index.html"


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and values."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def _without_tallies(episode: Mapping[str, Any]) -> dict[str, Any]:
    """An episode without the long lists that only a comparison needs."""
    return {name: entry for name, entry in episode.items() if name != "tallies"}


def _exists(metrics: Mapping[str, Any], name: str) -> bool:
    return name in metrics and metrics[name]["value"] is not None


def _card(label: str, metric: Mapping[str, Any]) -> dict[str, Any]:
    """A number, its interval, and bars beside the baselines on one scale."""
    unit = metric["unit"]
    known = [("policy", metric["value"])]
    known += [(name, metric[key]["value"]) for key, name in BASELINES if metric[key] is not None]
    longest = max((abs(value) for _, value in known if value is not None), default=0.0) or 1.0
    return {
        "label": label,
        "value": quantity(metric["value"], unit),
        "interval": interval(metric, unit),
        "bars": [
            {"name": name, "value": quantity(value, unit), "percent": round(100 * abs(value) / longest, 1)}
            for name, value in known
            if value is not None and len(known) > 1
        ],
        "verdict": _verdict(metric),
        "text": metric["text"],
    }


def _verdict(metric: Mapping[str, Any]) -> str:
    """Whether a baseline does better, in words; empty where none does."""
    if metric["better"] is None:
        return ""
    sign = 1 if metric["better"] == "lower" else -1
    beaten_by = [
        name
        for key, name in BASELINES
        if metric[key] is not None
        and metric[key]["value"] is not None
        and sign * metric[key]["value"] < sign * metric["value"]
    ]
    return f"worse than {' and '.join(beaten_by)}" if beaten_by else ""


def _metric_row(name: str, metric: Mapping[str, Any]) -> dict[str, Any]:
    unit = metric["unit"]
    return {
        "name": name,
        "value": quantity(metric["value"], unit),
        "interval": interval(metric, unit),
        "better": metric["better"] or "",
        "text": metric["text"],
        "baselines": [quantity(metric[key]["value"], unit) if metric[key] else "" for key, _ in BASELINES],
    }


def _joint_table(joints: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Columns in the order of the first joint; every joint has the same ones."""
    columns = [name for name in next(iter(joints.values()), {}) if name != "unit"]
    rows = []
    for joint, entry in joints.items():
        units = ["ratio" if column == "direction" else entry["unit"] for column in columns]
        cells = [(entry[c], quantity(entry[c], unit)) for c, unit in zip(columns, units, strict=True)]
        rows.append({"name": joint, "cells": cells})
    return {"columns": [column.replace("_", " ") for column in columns], "rows": rows}


def _horizon_chart(summary: Summary) -> str:
    horizon = summary["horizon"]
    lines = [Line(name, horizon[key], key) for key, name in BASELINES]
    lines.append(Line("policy", horizon["rmse"], "policy"))
    return line_chart(
        horizon["step"], lines, "control step", f"RMSE [{_error_unit(summary)}]", from_zero=True
    )


def _error_unit(summary: Summary) -> str:
    """Of errors that are no metric of their own; those of the first unit come first."""
    units = (metric["unit"] for name, metric in summary["metrics"].items() if name.startswith("rmse"))
    return next(units, "")


def _dream_chart(values: Sequence[float | None], label: str) -> str:
    steps = [float(step) for step in range(1, len(values) + 1)]
    return line_chart(steps, [Line("dream", values, "policy")], "dreamed image", label, from_zero=False)


def _stages(stages: Mapping[str, Mapping[str, float | None]]) -> list[dict[str, Any]]:
    """Percentiles as text, and as shares of the longest for bars."""
    percentiles = ("p50", "p90", "p99")
    longest = max((entry[p] or 0.0 for entry in stages.values() for p in percentiles), default=0.0) or 1.0
    return [
        {
            "name": name,
            "texts": [quantity(entry[p], "s") for p in percentiles],
            "percents": [round(100 * (entry[p] or 0.0) / longest, 1) for p in percentiles],
        }
        for name, entry in stages.items()
    ]


def _episode_row(episode: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in EPISODE_METRICS if _exists(metrics, name)]
    values = [episode["metrics"].get(name) for name in names]
    return {
        **episode,
        "link": episode_link(episode["id"]),
        "duration": duration(episode["duration_s"]),
        "cells": [(v, quantity(v, metrics[n]["unit"])) for n, v in zip(names, values, strict=True)],
    }


def _worst(
    moment: Mapping[str, Any], summary: Summary, pictures: Mapping[tuple[str, int], str]
) -> dict[str, Any]:
    return {
        "episode": moment["episode"],
        "link": f"{episode_link(moment['episode'])}#t={moment['at_s']:.2f}",
        "at": f"{moment['at_s']:.1f} s",
        "call": moment["call"],
        "error": quantity(moment["rmse"], _error_unit(summary)),
        "picture": pictures.get((moment["episode"], moment["call"]), ""),
    }
