# SPDX-License-Identifier: Apache-2.0
"""Writes what a policy answered as a recording, so that viewers show it beside the bag it was asked about.

All types are standard ones, all times those of the bag:

- ``/dreamzero/targets``  trajectory_msgs/JointTrajectory: each chunk as the policy gave it
- ``/dreamzero/planned``  likewise: where the trajectory made of the chunk is when its targets are due
- ``/dreamzero/rmse``     std_msgs/Float64: root mean square error of each chunk, see `call_errors`
- ``/dreamzero/calls``    diagnostic_msgs/DiagnosticArray: what became of each chunk, and its ages
- ``/dreamzero/observed/image/compressed``, ``/dreamzero/imagined/image/compressed``
  sensor_msgs/CompressedImage: what the model saw, and what it had dreamed for that time

A chunk is stamped with the capture of its frame, so that its targets lie where they are due, and logged when
it became a command. Pictures are stamped and logged at their time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.evaluation import messages
from dreamzero_ros.evaluation.episode import Episode, Floats, load
from dreamzero_ros.evaluation.measures import call_errors
from dreamzero_ros.evaluation.pictures import DREAMED, OBSERVED, picture_name
from dreamzero_ros.evaluation.recording import Recording
from dreamzero_ros.motion.timeline import due_times_ns

TARGETS, PLANNED = "/dreamzero/targets", "/dreamzero/planned"
RMSE, CALLS = "/dreamzero/rmse", "/dreamzero/calls"
PICTURES = {OBSERVED: "/dreamzero/observed/image/compressed", DREAMED: "/dreamzero/imagined/image/compressed"}
"""Topics; those of the pictures by their folder."""

_Message = tuple[int, str, Any]
"""Log time [ns], topic, message."""


def write_predictions(folders: Sequence[Path], path: Path) -> None:
    """Writes the episodes of one bag in the order of their begin; one is in memory at a time.

    Where a list of times lets episodes overlap, log times go back from one to the next, and readers put them
    in order by the index.

    Args:
        folders: Of finished episodes.
        path: Of the file; ends in .mcap. What was there before is replaced.

    Raises:
        ValueError: A folder holds no complete episode.
        OSError: A picture cannot be read, or the file cannot be written; what was there before still is.
    """
    with Recording(path) as recording:
        for folder in sorted(folders, key=lambda folder: load(folder).start_ns):
            episode = load(folder)
            parts = (_calls(episode), _pictures(episode, folder))
            for log_ns, topic, message in heapq.merge(*parts, key=lambda entry: entry[0]):
                recording.write(topic, log_ns, message)


def _calls(episode: Episode) -> Iterator[_Message]:
    errors, answered_ns = call_errors(episode), episode.calls.answered_ns
    for call in np.argsort(answered_ns, kind="stable").tolist():
        at_ns = int(answered_ns[call])
        for topic, chunks in ((TARGETS, episode.calls.targets), (PLANNED, episode.calls.planned)):
            known = np.isfinite(chunks[call]).all(axis=1)
            if known.any():
                yield at_ns, topic, _trajectory(episode, call, chunks[call], known)
        if np.isfinite(errors[call]):
            yield at_ns, RMSE, messages.number(float(errors[call]))
        yield at_ns, CALLS, _what_became(episode, call)


def _trajectory(episode: Episode, call: int, positions: Floats, known: NDArray[np.bool_]) -> Any:
    """Through those of (A, J) positions that are known, when they are due."""
    due_ns = due_times_ns(0, episode.dt_s, len(positions))
    captured_ns = int(episode.calls.captured_ns[call])
    return messages.trajectory(episode.joints, captured_ns, due_ns[known].tolist(), positions[known])


def _what_became(episode: Episode, call: int) -> Any:
    """A warning where the chunk came late, was not used, or met a limit."""
    calls = episode.calls
    late, used, hits = bool(calls.late[call]), int(calls.used[call]), int(calls.limit_hits[call])
    remarks = {"late": late, "not used": not used, "limits hit": hits > 0}
    said = [words for words, applies in remarks.items() if applies]
    counts = {
        "episode": episode.number,
        "call": call,
        "new session": bool(calls.new_session[call]),
        "late": late,
        "targets used": used,
        "targets dropped": int(calls.dropped[call]),
        "limit hits": hits,
        "time scale": float(calls.time_scale[call]),
        "age of the observation [s]": float(calls.observation_age_s[call]),
    }
    ages = {f"age of {name} [s]": age for name, age in _named(episode.cameras, calls.image_age_s[call])}
    stages = {f"stage {name} [s]": spent for name, spent in _named(episode.stages, calls.stages_s[call])}
    return messages.diagnostics(
        f"dreamzero: {episode.policy}",
        messages.WARN if said else messages.OK,
        ", ".join(said) or "followed",
        counts | ages | stages,
        int(calls.answered_ns[call]),
    )


def _named(names: Sequence[str], values: Floats) -> Iterator[tuple[str, float]]:
    yield from zip(names, values.tolist(), strict=True)


def _pictures(episode: Episode, folder: Path) -> Iterator[_Message]:
    """Observed ones all, dreamed ones where there are any; each is read when its turn comes."""
    for index, at_ns in enumerate(episode.pictures_ns.tolist()):
        for kind, topic in PICTURES.items():
            file = folder / kind / picture_name(index)
            if kind == OBSERVED or file.exists():
                yield at_ns, topic, messages.image(file.read_bytes(), at_ns, kind)
