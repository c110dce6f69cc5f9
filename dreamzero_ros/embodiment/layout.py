# SPDX-License-Identifier: Apache-2.0
"""Joint positions in robot units <-> named groups in model units <-> flat vectors, in declared order.

Every way in has its way out beside it. The leading axes of all arrays are free: one sample or a whole chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Embodiment, StateField

Fields = dict[str, NDArray[np.float64]]
"""By field name: (..., n) values in model units."""


def state_to_model(embodiment: Embodiment, positions: NDArray[np.float64]) -> Fields:
    """(..., J) positions in the order of `state_joints` -> state groups."""
    return _to_model(embodiment.state, positions)


def state_from_model(
    embodiment: Embodiment, fields: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """State groups -> (..., J) positions in the order of `state_joints`."""
    return _from_model(embodiment.state, fields)


def actions_to_model(embodiment: Embodiment, targets: NDArray[np.float64]) -> Fields:
    """(..., J) targets in the order of `command_joints` -> absolute action groups that move joints."""
    return _to_model(joint_actions(embodiment), targets)


def actions_from_model(
    embodiment: Embodiment, fields: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Absolute action groups -> (..., J) targets in the order of `command_joints`.

    Velocities of the base are left out: they are no joints.
    """
    return _from_model(joint_actions(embodiment), fields)


def joint_actions(embodiment: Embodiment) -> tuple[StateField, ...]:
    """The action groups that move joints, in model order."""
    return tuple(field for field in embodiment.action if field.kind == "joints")


def flatten(
    layout: Sequence[StateField], fields: Mapping[str, NDArray[np.float64]], size: int
) -> NDArray[np.float64]:
    """Groups -> (..., size) vector in declared order, zeros on the right.

    Raises:
        ValueError: The groups hold more than `size` values.
    """
    vector = np.concatenate([fields[field.name] for field in layout], axis=-1)
    if vector.shape[-1] > size:
        raise ValueError(f"the model takes vectors of {size} values, the robot has {vector.shape[-1]}")
    padding = [(0, 0)] * (vector.ndim - 1) + [(0, size - vector.shape[-1])]
    return np.pad(vector, padding)


def split(layout: Sequence[StateField], vector: NDArray[np.float64]) -> Fields:
    """(..., size) vector -> groups in declared order; what lies to the right of them is dropped.

    Raises:
        ValueError: The vector is shorter than the groups together.
    """
    total = sum(field.size for field in layout)
    if vector.shape[-1] < total:
        raise ValueError(f"the robot has {total} values, the model's vector only {vector.shape[-1]}")
    ends = np.cumsum([field.size for field in layout])
    return {field.name: vector[..., end - field.size : end] for field, end in zip(layout, ends, strict=True)}


def _to_model(layout: Sequence[StateField], values: NDArray[np.float64]) -> Fields:
    return {
        field.name: part if field.mapping is None else field.mapping.to_model(part)
        for field, part in zip(layout, split(layout, values).values(), strict=True)
    }


def _from_model(
    layout: Sequence[StateField], fields: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    parts = [
        fields[field.name] if field.mapping is None else field.mapping.to_robot(fields[field.name])
        for field in layout
    ]
    return np.concatenate(parts, axis=-1)


def command_positions(embodiment: Embodiment, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., J) positions in the order of `state_joints` -> those of the command joints, in their order."""
    columns = [embodiment.state_joints.index(joint) for joint in embodiment.command_joints]
    return positions[..., columns]
