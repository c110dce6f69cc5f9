# SPDX-License-Identifier: Apache-2.0
"""When grippers open and close: switches of the followed targets against the recorded ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.evaluation.episode import Episode, Floats

_Switches = list[tuple[float, bool]]
"""When [s], and to which side."""


def switch_sums(episode: Episode, predictions: Floats) -> dict[str, Floats]:
    """Compares switches over what would have been followed: of each chunk the used targets, up to the next.

    A switch is a change of side of the middle of the range from one followed target to the next one. It is
    compared with the nearest recorded one to the same side, closest pairs first.

    Args:
        episode: See there.
        predictions: (P, K, A, J) targets, as of the policy and of baselines.

    Returns:
        (P, 2) by metric: sum and count.
    """
    names = ("gripper_timing_s", "gripper_delay_s", "gripper_unmatched")
    sums = np.zeros((len(names), len(predictions), 2))
    pieces = followed(episode)
    window_s = episode.dt_s * predictions.shape[2]
    for joint in (episode.joints.index(name) for name in episode.grippers):
        middle = (episode.lower[joint] + episode.upper[joint]) / 2
        for row, predicted in enumerate(predictions[..., joint]):
            for calls, targets, due_s in pieces:
                pair = predicted[calls, targets], episode.calls.recorded[calls, targets, joint]
                known = np.isfinite(pair).all(axis=0)
                ours, theirs = (_switches(values[known] > middle, due_s[known]) for values in pair)
                delays = _delays(ours, theirs, window_s)
                alone = len(ours) + len(theirs) - 2 * len(delays)
                sums[0, row] += np.abs(delays).sum(), len(delays)
                sums[1, row] += delays.sum(), len(delays)
                sums[2, row] += alone, len(ours) + len(theirs)
    return dict(zip(names, sums, strict=True))


def followed(episode: Episode) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Which targets the arm would have followed, one stretch without a break after the other.

    Returns:
        For each stretch the calls (N,), the numbers of their targets (N,), and when they are due (N,), in
        seconds after the begin of the episode.
    """
    calls = episode.calls
    horizon = calls.targets.shape[1]
    step = np.arange(horizon)
    due_s = (calls.captured_ns - episode.start_ns)[:, None] / 1e9 + episode.dt_s * (step + 1)
    begins = calls.dropped
    taken = (step >= begins[:, None]) & (step < (begins + calls.used)[:, None])
    first_s = np.where(taken, due_s, np.inf).min(axis=1, initial=np.inf)
    until_s = np.minimum.accumulate(np.append(first_s[1:], np.inf)[::-1])[::-1]
    which = np.nonzero(taken & (due_s < until_s[:, None] - episode.dt_s / 2))
    times_s = due_s[which]
    session = np.cumsum(calls.new_session)[which[0]]
    breaks = np.flatnonzero((np.diff(times_s) > 1.5 * episode.dt_s) | (np.diff(session) > 0)) + 1
    parts = (np.split(values, breaks) for values in (*which, times_s))
    return list(zip(*parts, strict=True))


def _switches(sides: NDArray[np.bool_], times_s: Floats) -> _Switches:
    at = np.flatnonzero(sides[1:] != sides[:-1]) + 1
    return list(zip(times_s[at].tolist(), sides[at].tolist(), strict=True))


def _delays(ours: _Switches, theirs: _Switches, window_s: float) -> Floats:
    """By how much our switches come after theirs, for those that have a counterpart [s]."""
    pairs = [
        (round(abs(our_s - their_s), 6), i, j)
        for i, (our_s, our_side) in enumerate(ours)
        for j, (their_s, their_side) in enumerate(theirs)
        if our_side == their_side and abs(our_s - their_s) <= window_s
    ]
    taken: dict[int, int] = {}
    for _, i, j in sorted(pairs):
        if i not in taken and j not in taken.values():
            taken[i] = j
    return np.array([ours[i][0] - theirs[j][0] for i, j in taken.items()])
