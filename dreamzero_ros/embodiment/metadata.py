# SPDX-License-Identifier: Apache-2.0
"""Metadata of a checkpoint -> `Statistics` of one robot, complete or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.normalize import BOUNDS, FieldStatistics, Statistics
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


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EmbodimentError(str(path), "file", "a readable file", error.strerror) from error
    except json.JSONDecodeError as error:
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
