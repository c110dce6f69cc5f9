# SPDX-License-Identifier: Apache-2.0
"""Model units <-> the range that the network was trained on, as the reference release scales them.

============  ==============================  ==================  =======================
mode          forward                         clamped to [-1, 1]  where nothing varies
============  ==============================  ==================  =======================
``q99``       2 (x - q01) / (q99 - q01) - 1   yes                 x itself, then clamped
``min_max``   2 (x - min) / (max - min) - 1   yes                 0
``mean_std``  (x - mean) / std                no                  x itself
============  ==============================  ==================  =======================

The way back never clamps, and where nothing varies it answers the lower bound or the mean: there the two ways
are not inverses of each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment import layout
from dreamzero_ros.embodiment.schema import ActionField, Embodiment, NormalisationMode, StateField

FieldStatistics = Mapping[str, NDArray[np.float64]]
"""By statistic (q01, q99, min, max, mean, std): (n,), or (H, n) with one row per step of the horizon."""

BOUNDS: Mapping[NormalisationMode, tuple[str, str]] = {
    "q99": ("q01", "q99"),
    "min_max": ("min", "max"),
    "mean_std": ("mean", "std"),
}
"""The two statistics that each mode reads."""

_Float = TypeVar("_Float", np.float32, np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """How the values of one robot were distributed in the training data, in model units."""

    state: Mapping[str, FieldStatistics]
    """By name of the state field."""
    action: Mapping[str, FieldStatistics]
    """By name of the action field; of relative fields, those of the differences."""


def normalise(
    values: NDArray[_Float], statistics: FieldStatistics, mode: NormalisationMode = "q99"
) -> NDArray[_Float]:
    """Model units -> network range, computed in the precision of `values`.

    Args:
        values: (..., n), or (..., T, n) where the statistics have one row per step.
        statistics: Of this field.
        mode: See the table of the module.
    """
    low, high = _bounds(values, statistics, mode)
    span = high if mode == "mean_std" else high - low
    constant = span == 0
    scaled = (values - low) / np.where(constant, values.dtype.type(1), span)
    if mode == "mean_std":
        return np.where(constant, values, scaled)
    at_rest = np.zeros_like(values) if mode == "min_max" else values
    return np.clip(np.where(constant, at_rest, 2 * scaled - 1), -1, 1)


def denormalise(
    values: NDArray[_Float], statistics: FieldStatistics, mode: NormalisationMode = "q99"
) -> NDArray[_Float]:
    """Network range -> model units, not clamped; arguments as in `normalise`."""
    low, high = _bounds(values, statistics, mode)
    if mode == "mean_std":
        return values * high + low
    return (values + 1) / 2 * (high - low) + low


def normalise_state(
    embodiment: Embodiment, statistics: Statistics, positions: NDArray[np.float64], size: int = 64
) -> NDArray[np.float64]:
    """The state vector that the network takes.

    Args:
        embodiment: The robot.
        statistics: Of its tag.
        positions: (J,) joint positions in the order of `state_joints` [rad or m].
        size: Width of the network's state vector.

    Returns:
        (1, size), zeros to the right of the robot's own values.
    """
    fields = {
        name: normalise(values, statistics.state[name], embodiment.normalisation)
        for name, values in layout.state_to_model(embodiment, positions).items()
    }
    return layout.flatten(embodiment.state, fields, size)[None]


def normalise_actions(
    embodiment: Embodiment,
    statistics: Statistics,
    fields: Mapping[str, NDArray[np.float64]],
    positions: NDArray[np.float64],
    size: int = 32,
) -> NDArray[np.float64]:
    """Absolute action groups -> (A, size) as the network predicts them; the way in of `denormalise_actions`.

    Args:
        embodiment: The robot.
        statistics: Of its tag.
        fields: Every action field: (A, n) absolute values in model units.
        positions: (J,) joint positions at `t_k` in the order of `state_joints` [rad or m].
        size: Width of the network's action vector.
    """
    references = _references(embodiment, positions)
    normalised = {
        field.name: normalise(
            fields[field.name] - references[field.name],
            statistics.action[field.name],
            embodiment.normalisation,
        )
        for field in embodiment.action
    }
    return layout.flatten(embodiment.action, normalised, size)


def denormalise_actions(
    embodiment: Embodiment,
    statistics: Statistics,
    normalised: NDArray[np.float32] | NDArray[np.float64],
    positions: NDArray[np.float64],
) -> layout.Fields:
    """What the network predicts -> absolute action groups in model units.

    Args:
        embodiment: The robot.
        statistics: Of its tag.
        normalised: (A, at least the robot's values), the network's output.
        positions: (J,) joint positions at `t_k` in the order of `state_joints` [rad or m]; every step of
            a relative group is added to them.

    Returns:
        Every action field: (A, n).
    """
    references = _references(embodiment, positions)
    parts = layout.split(embodiment.action, normalised.astype(np.float64))
    return {
        name: denormalise(values, statistics.action[name], embodiment.normalisation) + references[name]
        for name, values in parts.items()
    }


def decode_actions(
    embodiment: Embodiment,
    statistics: Statistics,
    normalised: NDArray[np.float32] | NDArray[np.float64],
    positions: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What the network predicts -> (A, J) absolute targets in robot units, in the order of `command_joints`.

    Arguments as in `denormalise_actions`.
    """
    fields = denormalise_actions(embodiment, statistics, normalised, positions)
    return layout.actions_from_model(embodiment, fields)


def stand_in_statistics(embodiment: Embodiment) -> Statistics:
    """Statistics out of the joint limits, for networks that were never trained on a robot.

    State and absolute actions span the limits. Relative actions span half a percent of what the velocity
    limits allow within one chunk, so that random weights move the robot a little.
    """
    return Statistics(
        state={field.name: _spread(*limit_range(embodiment, field)) for field in embodiment.state},
        action={field.name: _spread(*_action_range(embodiment, field)) for field in embodiment.action},
    )


_STAND_IN_SHARE = 0.005
_STAND_IN_BASE_VELOCITY = 0.05  # [m/s or rad/s]


def limit_range(embodiment: Embodiment, field: StateField) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest value of a field that the joint limits allow, each (n,) in model units."""
    ends = np.array(
        [[embodiment.limits[joint].lower, embodiment.limits[joint].upper] for joint in field.joints]
    )
    ends = ends if field.mapping is None else np.sort(field.mapping.to_model(ends), axis=1)
    return ends[:, 0], ends[:, 1]


def _action_range(
    embodiment: Embodiment, field: ActionField
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if field.kind == "base_velocity":
        reach = np.full(field.size, _STAND_IN_BASE_VELOCITY)
    elif field.relative:
        duration_s = embodiment.horizon * embodiment.dt_s
        velocity = np.array([embodiment.limits[joint].velocity for joint in field.joints])
        reach = _STAND_IN_SHARE * duration_s * velocity
        if field.mapping is not None:
            reach = np.abs(field.mapping.to_model(reach) - field.mapping.to_model(np.zeros(field.size)))
    else:
        return limit_range(embodiment, field)
    return -reach, reach


def _spread(low: NDArray[np.float64], high: NDArray[np.float64]) -> FieldStatistics:
    centre, half = (low + high) / 2, (high - low) / 2
    return {"q01": low, "q99": high, "min": low, "max": high, "mean": centre, "std": half}


def _references(embodiment: Embodiment, positions: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """What each action field is relative to: the same-named state group in model units, or zero."""
    state = layout.state_to_model(embodiment, positions)
    return {
        field.name: state[field.name] if field.relative else np.zeros(field.size)
        for field in embodiment.action
    }


def _bounds(
    values: NDArray[_Float], statistics: FieldStatistics, mode: NormalisationMode
) -> tuple[NDArray[_Float], NDArray[_Float]]:
    low, high = (_rows(statistics[name], values).astype(values.dtype) for name in BOUNDS[mode])
    return low, high


def _rows(statistic: NDArray[np.float64], values: NDArray[_Float]) -> NDArray[np.float64]:
    """(n,) as it is; (H, n) cut or repeated to the T steps of `values` (..., T, n)."""
    if statistic.ndim == 1:
        return statistic
    horizon, steps = statistic.shape[0], values.shape[-2]
    if steps <= horizon:
        return statistic[:steps]
    if steps % horizon:
        raise ValueError(f"statistics per step: expected a multiple of {horizon} steps, got {steps}")
    return np.tile(statistic, (steps // horizon, 1))
