# SPDX-License-Identifier: Apache-2.0
"""Metadata of a checkpoint -> `Statistics` of one robot, complete or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.normalize import BOUNDS, FieldStatistics, Statistics, limit_range
from dreamzero_ros.embodiment.reader import EmbodimentError, Reader, nearest
from dreamzero_ros.embodiment.schema import Embodiment, StateField


def load_statistics(embodiment: Embodiment, source: Path | Mapping[str, object]) -> Statistics:
    """Takes the normalisation statistics of a robot out of a checkpoint's ``metadata.json``.

    Args:
        embodiment: The robot; its tag selects the entry, its field names the statistics.
        source: The file, or its content.

    Raises:
        EmbodimentError: The checkpoint does not know the tag, a field is missing, or its sizes differ.
    """
    name = str(source) if isinstance(source, Path) else "metadata"
    top = Reader(name, "", _read_json(source) if isinstance(source, Path) else dict(source))
    if not top.has(embodiment.tag):
        hint = nearest(embodiment.tag, top.values) + " The checkpoint was trained for another robot."
        raise top.error(embodiment.tag, f"statistics of robot {embodiment.name!r}", "none", hint)
    both = top.child(embodiment.tag).child("statistics")
    return Statistics(
        state=_field_statistics(both.child("state"), embodiment.state, embodiment),
        action=_field_statistics(both.child("action"), embodiment.action, embodiment),
    )


OUTSIDE = 0.1
"""Share of a joint's range by which training data may lie outside of it without a doubt."""
LEAST_TRAVEL = 0.1
"""Share of its range that a gripper has surely used in training data."""


def range_doubts(embodiment: Embodiment, statistics: Statistics) -> list[str]:
    """Where the training data of a checkpoint and the limits of a robot do not fit together.

    A sign of another unit, gripper convention, order of joints or of another robot; an inverted gripper does
    not show. Robots that are normalised by mean and deviation are judged by one deviation on either side.

    Returns:
        One sentence for each joint of the state in doubt.
    """
    doubts = []
    for field in embodiment.state:
        data_low, data_high = _data_range(statistics.state[field.name], embodiment)
        low, high = limit_range(embodiment, field)
        span = high - low
        outside = np.maximum(low - data_low, data_high - high) > OUTSIDE * span
        idle = (data_high - data_low < LEAST_TRAVEL * span) & field.is_gripper
        doubts += [
            f"{field.name}, {joint}: the training data runs from {data_low[n]:.4g} to {data_high[n]:.4g}, "
            f"the limits of the robot file from {low[n]:.4g} to {high[n]:.4g} {field.units[n]}"
            for n, joint in enumerate(field.joints)
            if outside[n] or idle[n]
        ]
    return doubts


def _data_range(
    statistics: FieldStatistics, embodiment: Embodiment
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest value of each joint, over all steps where there is a row for each."""
    first, second = (np.atleast_2d(statistics[key]) for key in BOUNDS[embodiment.normalisation])
    if embodiment.normalisation == "mean_std":
        first, second = first - second, first + second
    return first.min(axis=0), second.max(axis=0)


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise EmbodimentError(str(path), "file", "a readable file", error.strerror) from error
    except ValueError as error:  # no JSON, or no text
        raise EmbodimentError(str(path), "document", "JSON", error) from error


def _field_statistics(
    node: Reader, fields: Sequence[StateField], embodiment: Embodiment
) -> dict[str, FieldStatistics]:
    found: dict[str, FieldStatistics] = {}
    for field in fields:
        if not node.has(field.name):
            raise node.error(field.name, "statistics of this field", "none", nearest(field.name, node.values))
        entry = node.child(field.name)
        found[field.name] = {
            key: _statistic(entry, key, field.size) for key in BOUNDS[embodiment.normalisation]
        }
    return found


def _statistic(entry: Reader, key: str, size: int) -> NDArray[np.float64]:
    expected = f"{size} finite numbers, or rows of them"
    try:
        values = np.array(entry.items(key), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise entry.error(key, expected, error) from error
    if values.ndim not in (1, 2) or values.shape[-1] != size or not np.isfinite(values).all():
        raise entry.error(key, expected, f"shape {values.shape}: {values.tolist()}")
    return values
