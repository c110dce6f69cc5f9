# SPDX-License-Identifier: Apache-2.0
"""Everything a report says about a set of episodes, as the content of report.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dreamzero_ros.evaluation.files import write
from dreamzero_ros.evaluation.measures import WORST, Measures, joint_groups
from dreamzero_ros.evaluation.metrics import (
    HOLD,
    POLICY,
    REPEAT,
    STEPS,
    Floats,
    Metric,
    Tallies,
    definitions,
)
from dreamzero_ros.evaluation.statistics import interval, percentile, quotient, value, values

FILE = "report.json"
VERSION = 1
"""Of the content."""

_SAME = ("embodiment", "policy", "settings", "horizon", "joints", "grippers", "units")
"""What episodes of one report have in common."""

_Named = Sequence[tuple[str, Measures]]


def summarise(
    episodes: _Named, failed: Sequence[Mapping[str, str]] = (), notices: Sequence[str] = ()
) -> dict[str, Any]:
    """Pools episodes; every value is that of all of them together, NaN is null.

    Args:
        episodes: Id and measures, in the order of the report.
        failed: ``bag`` and ``error`` of what could not be played.
        notices: What holds for the whole run, in words.

    Raises:
        ValueError: There is no episode, or they are not of one robot, policy and settings.
    """
    _check(episodes)
    first, all_ = episodes[0][1], [measures for _, measures in episodes]
    groups = joint_groups(first.joints, first.grippers, first.units)
    known = definitions(groups, first.horizon)
    references = Counter(measures.reference for measures in all_)
    shared = [text for text in first.notices if all(text in measures.notices for measures in all_)]
    tallies = [measures.tallies for measures in all_]
    content: dict[str, Any] = {
        "version": VERSION,
        "policy": first.policy,
        "embodiment": first.embodiment,
        "settings": first.settings,
        "reference": " and ".join(references),
        "metrics": {n: _metric(n, m, tallies) for n, m in known.items() if _exists(n, m, tallies)},
        "joints": _joints(all_),
        "stages": _stages(all_),
        "horizon": _horizon(all_, next(iter(groups.values()), np.zeros(len(first.joints), bool))),
        "dream": _dreams(all_),
        "episodes": [_episode(name, measures, known, shared) for name, measures in episodes],
        "worst": _worst(episodes),
        "holds": sum((Counter(measures.holds) for measures in all_), Counter()),
        "failed": list(failed),
        "incomplete": [{"episode": n, "error": m.incomplete} for n, m in episodes if m.incomplete],
        "notices": [*notices, *_mixed(references), *shared],
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Writes report.json.

    Raises:
        OSError: It cannot be written; no partial file is left under the final name.
    """
    write(folder / FILE, json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False))


def read_summary(folder: Path) -> dict[str, Any]:
    """Reads what `write_summary` has written.

    Raises:
        ValueError: The folder holds no report, or one of another version.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected the report of an evaluation, got {error}") from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise ValueError(f"{path}: expected version {VERSION}, got {version}; evaluate the bags again")
    found: dict[str, Any] = content
    return found


def _check(episodes: _Named) -> None:
    if not episodes:
        raise ValueError("episodes: expected some, got none; nothing can be reported")
    (first_name, first), *others = episodes
    for name, measures in others:
        for field in _SAME:
            ours, theirs = getattr(first, field), getattr(measures, field)
            if ours != theirs:
                raise ValueError(
                    f"{field} of the episodes: expected {ours!r} as in {first_name}, got {theirs!r} in "
                    f"{name}; evaluate them apart"
                )


def _mixed(references: Mapping[str, int]) -> list[str]:
    """Says that errors of episodes do not all mean the same."""
    if len(references) == 1:
        return []
    counts = " and ".join(f"of {count} episodes with {name}" for name, count in references.items())
    return [f"recorded positions are {counts}: errors against the two differ by how well the arm follows"]


def _exists(name: str, metric: Metric, tallies: Sequence[Tallies]) -> bool:
    """Whether the robot and the policy have such a thing at all."""
    if metric.values:
        return any(metric.values in episode.values for episode in tallies)
    return any(name in episode.sums for episode in tallies)


def _metric(name: str, metric: Metric, tallies: Sequence[Tallies]) -> dict[str, Any]:
    compared = any(len(episode.sums.get(name, ())) > 1 for episode in tallies)
    return {
        **_estimate(name, metric, tallies, POLICY),
        "unit": metric.unit,
        "better": metric.better,
        "text": metric.text,
        "hold": _estimate(name, metric, tallies, HOLD) if compared else None,
        "repeat": _estimate(name, metric, tallies, REPEAT) if compared else None,
    }


def _estimate(name: str, metric: Metric, tallies: Sequence[Tallies], row: int) -> dict[str, float]:
    drawn = values(name, metric, tallies, row)
    low, high = interval(metric, drawn, sum(metric.known(name, episode, row) for episode in tallies))
    return {"value": float(drawn[0]), "low": low, "high": high}


def _joints(episodes: Sequence[Measures]) -> dict[str, dict[str, Any]]:
    """One row per joint, grippers included, all with the same columns."""
    first = episodes[0]
    squared, absolute, counted, agreed, moved = (
        sum(getattr(measures, field) for measures in episodes)
        for field in ("squared", "absolute", "counted", "agreed", "moved")
    )
    rmse = np.sqrt(quotient(squared.sum(axis=1), counted.sum(axis=1)))
    at = np.sqrt(quotient(squared[POLICY], counted[POLICY]))
    columns = {"rmse": rmse[POLICY]}
    columns |= {f"rmse@{step}": at[step - 1] for step in STEPS if step <= first.horizon}
    columns["mae"] = quotient(absolute[POLICY].sum(axis=0), counted[POLICY].sum(axis=0))
    columns |= {"hold_rmse": rmse[HOLD], "repeat_rmse": rmse[REPEAT], "direction": quotient(agreed, moved)}
    return {
        joint: {"unit": unit} | {name: column[j] for name, column in columns.items()}
        for j, (joint, unit) in enumerate(zip(first.joints, first.units, strict=True))
    }


def _stages(episodes: Sequence[Measures]) -> dict[str, dict[str, float]]:
    """By stage that any of them has."""
    times_s: dict[str, list[Floats]] = {}
    for measures in episodes:
        for stage, column in zip(measures.stages, measures.stages_s.T, strict=True):
            times_s.setdefault(stage, []).append(column[np.isfinite(column)])
    return {
        stage: {f"p{percent}": percentile(np.concatenate(parts), percent) for percent in (50, 90, 99)}
        for stage, parts in times_s.items()
    }


def _horizon(episodes: Sequence[Measures], mask: Any) -> dict[str, Any]:
    """Errors of the joints of the first unit by target."""
    squared, counted = (
        sum(getattr(measures, field)[..., mask].sum(axis=-1) for measures in episodes)
        for field in ("squared", "counted")
    )
    rmse = np.sqrt(quotient(squared, counted))
    return {
        "step": list(range(1, episodes[0].horizon + 1)),
        "rmse": rmse[POLICY],
        "hold": rmse[HOLD],
        "repeat": rmse[REPEAT],
    }


def _episode(
    name: str, measures: Measures, known: Mapping[str, Metric], shared: Sequence[str]
) -> dict[str, Any]:
    fields = ("bag", "number", "start_ns", "duration_s", "instruction", "calls")
    return {
        "id": name,
        **{field: getattr(measures, field) for field in fields},
        "metrics": {
            metric_name: value(metric_name, metric, measures.tallies)
            for metric_name, metric in known.items()
            if _exists(metric_name, metric, [measures.tallies])
        },
        "notices": [text for text in measures.notices if text not in shared],
        "tallies": measures.tallies.content(),
    }


def _worst(episodes: _Named) -> list[dict[str, Any]]:
    moments = [(name, moment) for name, measures in episodes for moment in measures.worst]
    moments.sort(key=lambda entry: -entry[1].rmse)
    return [
        {"episode": name, "call": moment.call, "at_s": moment.at_s, "rmse": moment.rmse}
        for name, moment in moments[:WORST]
    ]


def _dreams(episodes: Sequence[Measures]) -> dict[str, Floats]:
    """By dreamed image of a chunk; where an episode has fewer, it says nothing about the others."""
    pairs = np.zeros((2, max(measures.dreamed.shape[1] for measures in episodes), 2))
    for measures in episodes:
        pairs[:, : measures.dreamed.shape[1]] += measures.dreamed
    psnr, ssim = quotient(pairs[..., 0], pairs[..., 1])
    return {"psnr": psnr, "ssim": ssim}


def _plain(content: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(content, Mapping):
        return {name: _plain(entry) for name, entry in content.items()}
    if isinstance(content, np.ndarray):
        return _plain(content.tolist())
    if isinstance(content, (list, tuple)):
        return [_plain(entry) for entry in content]
    if isinstance(content, np.generic):
        return _plain(content.item())
    return None if isinstance(content, float) and not np.isfinite(content) else content
