# SPDX-License-Identifier: Apache-2.0
"""What is kept of an episode for a report: sums that add up over episodes, and its worst moments.

K calls, horizon A, joints J, as in `Episode`. P = 3 rows of predictions: the policy, *hold still* (the
measured positions at capture), and *repeat the last motion*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.evaluation.end_effector import end_effector_sums
from dreamzero_ros.evaluation.episode import Calls, Episode, Floats
from dreamzero_ros.evaluation.metrics import MOVES, POLICY, STEPS, SUFFIXES, Tallies
from dreamzero_ros.evaluation.statistics import quotient
from dreamzero_ros.evaluation.switches import switch_sums
from dreamzero_ros.kinematics.chain import KinematicsError

WORST = 10
"""Moments that are kept of an episode."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A chunk that went wrong."""

    call: int
    at_s: float
    """Its capture, after the begin of the episode [s]; 0 for one that was logged only then."""
    rmse: float
    """Over its targets and the joints of the first unit of `Measures.groups`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measures:
    """One episode, small enough that those of many bags fit in memory."""

    bag: str
    number: int
    start_ns: int
    duration_s: float
    instruction: str
    embodiment: str
    policy: str
    settings: Mapping[str, Any]
    reference: str
    joints: tuple[str, ...]
    grippers: tuple[str, ...]
    units: tuple[str, ...]
    stages: tuple[str, ...]
    holds: Mapping[str, int]
    notices: tuple[str, ...]
    """Those of the episode, and what is left out of the metrics."""
    incomplete: str
    """As that of the episode."""
    calls: int
    """K."""
    horizon: int
    """A."""
    squared: Floats
    """(P, A, J) sums of squared errors."""
    absolute: Floats
    """(P, A, J) sums of absolute errors."""
    counted: Floats
    """(P, A, J) how many errors there are."""
    agreed: Floats
    """(J,) targets of the policy in the direction of the recorded motion."""
    moved: Floats
    """(J,) targets by which the recorded motion has a direction."""
    dreamed: Floats
    """(2, T, 2) sum and count of PSNR and SSIM by dreamed image of a chunk."""
    stages_s: Floats
    """(K, S) time spent in each stage [s]."""
    tallies: Tallies
    worst: tuple[Moment, ...]
    """At most `WORST`, the worst first, a horizon apart."""


def measure(episode: Episode) -> Measures:
    """Reduces an episode to sums; see `metrics` for what counts."""
    calls, groups = episode.calls, joint_groups(episode.joints, episode.grippers, episode.units)
    predictions, errors = _errors(calls)
    squared, absolute = np.nansum(errors**2, axis=1), np.nansum(np.abs(errors), axis=1)
    counted = np.isfinite(errors).sum(axis=1).astype(float)
    agreed, moved = _directions(episode, predictions)
    dreamed = np.stack([_sums(values, np.isfinite(values), (0,)) for values in (calls.psnr, calls.ssim)])
    hand, absent = _end_effectors(episode, predictions)
    arm = ~_is_gripper(episode)
    sums = dict(_error_sums(errors, squared, absolute, counted, groups))
    sums |= dict(_motion_sums(calls, groups))
    sums["direction"] = _pairs(agreed[:, arm].sum(axis=1), moved[:, arm].sum(axis=1))
    sums |= dict(_gripper_sums(episode, predictions)) | hand | dict(_count_sums(calls))
    if dreamed.size:
        sums |= {name: dreamed[i].sum(axis=0)[None] for i, name in enumerate(("psnr", "ssim"))}
    return Measures(
        **{name: getattr(episode, name) for name in _COPIED},
        notices=(*episode.notices, *absent, *_left_out(calls)),
        calls=len(calls.captured_ns),
        horizon=calls.targets.shape[1],
        squared=squared,
        absolute=absolute,
        counted=counted,
        agreed=agreed[POLICY],
        moved=moved[POLICY],
        dreamed=dreamed,
        stages_s=calls.stages_s,
        tallies=Tallies(sums=sums, values=dict(_values(calls, groups))),
        worst=_worst(episode),
    )


_COPIED = (
    *("bag", "number", "start_ns", "duration_s", "instruction", "embodiment", "policy", "settings"),
    *("reference", "joints", "grippers", "units", "stages", "holds", "incomplete"),
)


def joint_groups(
    joints: tuple[str, ...], grippers: tuple[str, ...], units: tuple[str, ...]
) -> dict[str, Mask]:
    """By unit, in the order of `SUFFIXES`: (J,) which joints have it and are no grippers."""
    arm = np.array([joint not in grippers for joint in joints])
    masks = {unit: arm & (np.array(units) == unit) for unit in SUFFIXES}
    return {unit: mask for unit, mask in masks.items() if mask.any()}


def _errors(calls: Calls) -> tuple[Floats, Floats]:
    """(P, K, A, J) predictions, and what they miss the recorded positions by; NaN where either is."""
    still = np.broadcast_to(calls.positions[:, None], calls.targets.shape)
    predictions = np.stack([calls.targets, still, calls.repeated])
    predictions[:, ~np.isfinite(calls.targets)] = np.nan
    return predictions, predictions - calls.recorded


def _directions(episode: Episode, predictions: Floats) -> tuple[Floats, Floats]:
    """(P, J) how many predictions go the way of the recorded motion, and of how many."""
    calls = episode.calls
    motion = calls.recorded - calls.positions[:, None]
    moves = np.abs(motion) > np.array([MOVES[unit] for unit in episode.units])
    counts = moves & np.isfinite(predictions)
    agrees = counts & (np.sign(predictions - calls.positions[:, None]) == np.sign(motion))
    return agrees.sum(axis=(1, 2)).astype(float), counts.sum(axis=(1, 2)).astype(float)


def _error_sums(
    errors: Floats, squared: Floats, absolute: Floats, counted: Floats, groups: Mapping[str, Mask]
) -> Iterator[tuple[str, Floats]]:
    for unit, mask in groups.items():
        suffix = SUFFIXES[unit]
        for name, sums in (("rmse", squared), ("mae", absolute)):
            yield name + suffix, _pairs(sums[..., mask].sum(axis=(1, 2)), counted[..., mask].sum(axis=(1, 2)))
            for step in STEPS:
                if step <= errors.shape[2]:
                    at = (part[:, step - 1, mask].sum(axis=1) for part in (sums, counted))
                    yield f"{name}@{step}{suffix}", _pairs(*at)
        lengths = np.linalg.norm(errors[:, :, -1, mask], axis=-1)
        yield f"final_error{suffix}", _sums(lengths, np.isfinite(lengths), (1,))


def _motion_sums(calls: Calls, groups: Mapping[str, Mask]) -> Iterator[tuple[str, Floats]]:
    for unit, mask in groups.items():
        suffix = SUFFIXES[unit]
        squares = {
            "planned_rmse": (calls.planned - calls.recorded)[..., mask] ** 2,
            "raw_jerk": calls.raw_jerk[:, mask] ** 2,
            "planned_jerk": calls.planned_jerk[:, mask] ** 2,
        }
        for name, values in (squares | _jumps(calls, mask)).items():
            yield name + suffix, _sums(values, np.isfinite(values))[None]


def _jumps(calls: Calls, mask: Mask) -> dict[str, Floats]:
    """(K, J) sizes, by kind and quantity."""
    return {
        f"{kind}_jump_{quantity}": np.abs(jumps[:, row, mask])
        for kind, jumps in (("raw", calls.raw_jump), ("spliced", calls.spliced_jump))
        for row, quantity in enumerate(("position", "velocity"))
    }


def _gripper_sums(episode: Episode, predictions: Floats) -> Iterator[tuple[str, Floats]]:
    if not episode.grippers:
        return
    which = _is_gripper(episode)
    middle = ((episode.lower + episode.upper) / 2)[which]
    recorded, predicted = episode.calls.recorded[..., which], predictions[..., which]
    same = (predicted > middle) == (recorded > middle)
    yield "gripper_accuracy", _sums(same.astype(float), np.isfinite(predicted - recorded), (1, 2, 3))
    yield from switch_sums(episode, predictions).items()


def _count_sums(calls: Calls) -> Iterator[tuple[str, Floats]]:
    K, A, _ = calls.targets.shape
    yield "limit_hits", _pairs(calls.limit_hits.sum(), K)[None]
    yield "deadline_misses", _pairs(calls.late.sum(), K)[None]
    yield "targets_dropped", _pairs(calls.dropped.sum(), K * A)[None]


def _values(calls: Calls, groups: Mapping[str, Mask]) -> Iterator[tuple[str, Floats]]:
    for unit, mask in groups.items():
        for name, jumps in _jumps(calls, mask).items():
            yield f"{name}_max{SUFFIXES[unit]}", np.sort(jumps[np.isfinite(jumps)])[-1:]
    times = {
        "observation_age": calls.observation_age_s,
        "latency": (calls.answered_ns - calls.asked_ns) / 1e9,
        "image_age": calls.image_age_s,
    }
    for name, times_s in times.items():
        yield name, times_s[np.isfinite(times_s)]


def _end_effectors(episode: Episode, predictions: Floats) -> tuple[dict[str, Floats], list[str]]:
    """Sums, or why there are none, in words."""
    if not episode.urdf:
        return {}, ["no errors of the end effector: the bag has no robot_description"]
    try:
        return end_effector_sums(episode, predictions), []
    except (ImportError, KinematicsError) as error:
        return {}, [f"no errors of the end effector: {error}"]


def _left_out(calls: Calls) -> Iterator[str]:
    """What the metrics do not hold, in words."""
    answered = np.isfinite(calls.targets).all(axis=(1, 2))
    if not answered.all():
        yield f"{(~answered).sum()} of {answered.size} calls are left out where they have no answer"
    recorded = np.isfinite(calls.recorded).all(axis=2)
    if not recorded.all():
        yield f"{(~recorded).sum()} of {recorded.size} targets are left out where nothing was recorded then"
    equal = np.isinf(calls.psnr)
    if equal.any():
        yield f"{equal.sum()} dreamed images are left out of PSNR: they equal the recorded ones"


def call_errors(episode: Episode) -> Floats:
    """(K,) root mean square error of each chunk over its targets and the joints of the first unit.

    That is [rad], or, by `SUFFIXES`, what the robot has instead; NaN where nothing can be compared.
    """
    groups = joint_groups(episode.joints, episode.grippers, episode.units)
    mask = next(iter(groups.values()), np.zeros(len(episode.joints), bool))
    errors = (episode.calls.targets - episode.calls.recorded)[..., mask]
    pairs = _sums(errors**2, np.isfinite(errors), (1, 2))
    return np.sqrt(quotient(pairs[:, 0], pairs[:, 1]))


def _worst(episode: Episode) -> tuple[Moment, ...]:
    rmse = call_errors(episode)
    known = np.flatnonzero(np.isfinite(rmse))
    at_s = (episode.calls.captured_ns - episode.start_ns) / 1e9
    apart_s = episode.dt_s * (episode.calls.targets.shape[1] - 0.5)
    taken: list[int] = []
    for call in known[np.argsort(-rmse[known], kind="stable")].tolist():
        if len(taken) < WORST and all(abs(at_s[call] - at_s[other]) > apart_s for other in taken):
            taken.append(call)
    return tuple(
        Moment(call=call, at_s=max(0.0, float(at_s[call])), rmse=float(rmse[call])) for call in taken
    )


def _is_gripper(episode: Episode) -> Mask:
    return np.array([joint in episode.grippers for joint in episode.joints])


def _sums(values: Floats, counts: Mask, axes: tuple[int, ...] | None = None) -> Floats:
    """(..., 2) sum and count of the values that count, over some axes or all."""
    return _pairs(np.where(counts, values, 0.0).sum(axis=axes), counts.sum(axis=axes))


def _pairs(sums: Any, counts: Any) -> Floats:
    """Puts sums and counts beside each other: (..., 2)."""
    pairs: Floats = np.stack([np.asarray(sums, float), np.asarray(counts, float)], axis=-1)
    return pairs
