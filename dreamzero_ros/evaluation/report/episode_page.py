# SPDX-License-Identifier: Apache-2.0
"""An episode as the data that its page draws, of bounded size whatever its length.

K calls, horizon A, command joints J, N times. Arrays travel as base64 of little-endian float32, joints
first so that each one is contiguous; times in seconds after the begin of the episode, as float64.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.evaluation.episode import Episode, Floats, Ints
from dreamzero_ros.evaluation.measures import call_errors, joint_groups
from dreamzero_ros.evaluation.pictures import DREAMED, OBSERVED, picture_name

MOST_VALUES = 2_000_000
"""In one array of a page; a longer line is thinned to its extremes, of more chunks every n-th is shown."""
NS_PER_S = 1e9


def page_data(episode: Episode, folder: Path, worst: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Everything that the scripts of the page read.

    Args:
        episode: What is shown.
        folder: Of the episode, with its pictures.
        worst: Its entries of the worst moments of the report.
    """
    calls, step_ns = episode.calls, round(episode.dt_s * NS_PER_S)
    due_ns = calls.captured_ns[:, None] + step_ns * np.arange(1, calls.targets.shape[1] + 1)
    every = max(1, math.ceil(calls.targets.size / MOST_VALUES))
    return {
        "duration": episode.duration_s,
        "joints": _joints(episode),
        "lines": {
            "measured": _line(_seconds(episode, episode.measured_ns), episode.measured),
            "recorded": _merged(episode, due_ns, calls.recorded, calls.captured_ns + step_ns // 2),
            "planned": _merged(episode, due_ns, calls.planned, _taken_over_ns(episode)),
        },
        "chunks": {
            "every": every,
            "begin": _packed(_seconds(episode, calls.captured_ns[::every])),
            "step": episode.dt_s,
            "length": calls.targets.shape[1],
            "values": _packed(calls.targets[::every].transpose(2, 0, 1), "<f4"),
        },
        "calls": _calls(episode),
        "pictures": _pictures(episode, folder),
        "worst": [{"at": moment["at_s"], "call": moment["call"]} for moment in worst],
    }


def _seconds(episode: Episode, times_ns: Ints) -> Floats:
    return np.asarray((times_ns - episode.start_ns) / NS_PER_S)


def _joints(episode: Episode) -> list[dict[str, Any]]:
    """With the range that holds every value, predictions only as far as the limits go."""
    calls = episode.calls
    within = np.clip(calls.targets, episode.lower, episode.upper)
    shown = (episode.measured, calls.recorded, calls.planned, within)
    rows = np.concatenate([values.reshape(-1, len(episode.joints)) for values in shown])
    low = np.fmin.reduce(rows, axis=0, initial=np.inf)
    high = np.fmax.reduce(rows, axis=0, initial=-np.inf)
    return [
        {
            "name": joint,
            "unit": episode.units[j],
            "gripper": joint in episode.grippers,
            "lower": _finite(episode.lower[j]),
            "upper": _finite(episode.upper[j]),
            "low": _finite(low[j]),
            "high": _finite(high[j]),
        }
        for j, joint in enumerate(episode.joints)
    ]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _taken_over_ns(episode: Episode) -> Ints:
    """(K,) from when on a call's trajectory is followed; for one that was refused, when the next one is."""
    calls = episode.calls
    taken_ns = np.where(calls.used > 0, calls.answered_ns, np.iinfo(np.int64).max)
    return np.asarray(np.minimum.accumulate(taken_ns[::-1])[::-1])


def _merged(episode: Episode, due_ns: Ints, values: Floats, begins_ns: Ints) -> dict[str, Any]:
    """One line out of the rows of the calls, which overlap: each row until the next one begins."""
    until_ns = np.append(begins_ns[1:], np.iinfo(np.int64).max)[: len(begins_ns)]
    shown = (due_ns >= begins_ns[:, None]) & (due_ns < until_ns[:, None])
    return _line(_seconds(episode, due_ns[shown]), values[shown])


def _line(times_s: Floats, values: Floats) -> dict[str, Any]:
    times_s, values = thinned(times_s, values, MOST_VALUES)
    return {"times": _packed(times_s), "values": _packed(values.T, "<f4")}


def thinned(times_s: Floats, values: Floats, most: int) -> tuple[Floats, Floats]:
    """Of every few rows the least and the greatest of each joint, where there are too many values.

    Args:
        times_s: (N,) ascending.
        values: (N, J); NaN where there is none.
        most: So many values remain at most, and two rows more.
    """
    if values.size <= most:
        return times_s, values
    bucket = 2 * math.ceil(values.size / most)
    starts = np.arange(0, len(values), bucket)
    extremes = (np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts))
    middles = np.minimum(starts + bucket // 2, len(values) - 1)
    times_s = np.stack((times_s[starts], times_s[middles]), axis=1).ravel()
    return times_s, np.stack(extremes, axis=1).reshape(-1, values.shape[1])


def _packed(values: NDArray[Any], kind: str = "<f8") -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode("ascii")


def _calls(episode: Episode) -> dict[str, Any]:
    """One entry per call: few numbers each, so as lists."""
    calls = episode.calls
    return {
        "captured": _packed(_seconds(episode, calls.captured_ns)),
        "answered": _packed(_seconds(episode, calls.answered_ns)),
        "errors": _packed(call_errors(episode)),
        "unit": next(iter(joint_groups(episode.joints, episode.grippers, episode.units)), ""),
        "fresh": calls.new_session.tolist(),
        "late": calls.late.tolist(),
        "used": calls.used.tolist(),
        "dropped": calls.dropped.tolist(),
        "limits": calls.limit_hits.tolist(),
        "slower": [_finite(scale) for scale in calls.time_scale.round(3)],
    }


def _pictures(episode: Episode, folder: Path) -> dict[str, Any]:
    """Times, and which files are there: a page must not ask for one that is missing."""
    count = len(episode.pictures_ns)
    there = {}
    for kind in (OBSERVED, DREAMED):
        names = {path.name for path in (folder / kind).glob("*.jpg")}
        there[kind] = _packed(np.array([picture_name(i) in names for i in range(count)]), "u1")
    return {"times": _packed(_seconds(episode, episode.pictures_ns)), **there}
