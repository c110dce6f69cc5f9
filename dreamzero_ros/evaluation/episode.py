# SPDX-License-Identifier: Apache-2.0
"""What a policy answered over one episode, beside what was recorded; in memory and as two files.

K calls, horizon A, command joints J, C cameras, T dreamed images of a call. Times are on the clock of the
bag. Where something was not recorded, or not answered, there is NaN.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.evaluation.files import write

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ARRAYS, WORDS = "episode.npz", "episode.json"
"""Names of the two files; an episode is complete when the second is there."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Calls:
    """The calls of the policy, in order; the first axis of every array is K."""

    captured_ns: Ints
    """(K,) `t_k` of the frame."""
    asked_ns: Ints
    """(K,) when the policy was asked."""
    answered_ns: Ints
    """(K,) when the chunk became a command."""
    new_session: NDArray[np.bool_]
    """(K,) whether the policy was reset before."""
    positions: Floats
    """(K, J) where the command joints were measured at `t_k` [rad or m]: what *hold still* predicts."""
    targets: Floats
    """(K, A, J) as the policy gave them; target i is due at `t_k` + (i + 1) `dt_s` [rad or m]."""
    planned: Floats
    """(K, A, J) where the trajectory made of the chunk is when a target is due; NaN for targets that were
    dropped."""
    recorded: Floats
    """(K, A, J) what was commanded when a target is due, or, by `Episode.reference`, measured."""
    repeated: Floats
    """(K, A, J) what *repeat the last motion* predicts: the measured motion of the last A steps again, from
    `positions` on; NaN before there are so many."""
    used: Ints
    """(K,) targets that became part of the trajectory; 0 for a chunk that was refused or came too late."""
    dropped: Ints
    """(K,) leading targets that were already due."""
    late: NDArray[np.bool_]
    """(K,) whether the chunk came after the one before had run out."""
    limit_hits: Ints
    """(K,) limits that shaped the trajectory."""
    time_scale: Floats
    """(K,) by how much the chunk was slowed down to keep limits; 1: not at all."""
    raw_jump: Floats
    """(K, 2, J) from the chunk before to this one, where this one begins to be followed, as the policy gave
    them: of the position [rad or m] and of the velocity [1/s]; NaN for the first of a session."""
    spliced_jump: Floats
    """(K, 2, J) likewise, of the trajectories made of them."""
    raw_jerk: Floats
    """(K, J) root mean square jerk of the chunk as the policy gave it [rad/s^3 or m/s^3]."""
    planned_jerk: Floats
    """(K, J) likewise, of the trajectory while it follows the chunk."""
    observation_age_s: Floats
    """(K,) from `t_k` to the command [s]."""
    image_age_s: Floats
    """(K, C) age of the newest image of each camera when the policy was asked [s]."""
    stages_s: Floats
    """(K, S) time spent in each of `Episode.stages` [s]."""
    psnr: Floats
    """(K, T) of the dreamed images against the recorded ones, by horizon [dB]."""
    ssim: Floats
    """(K, T) likewise, structural similarity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Episode:
    """One stretch of one bag, played through a policy."""

    bag: str
    """Path of the bag as it was named."""
    number: int
    """Of the episode within the bag, from 0."""
    start_ns: int
    """Log time of the begin [ns]."""
    end_ns: int
    """Log time of the end [ns]."""
    instruction: str
    """What the robot was asked to do."""
    embodiment: str
    """Name of the robot file."""
    policy: str
    """`Policy.name`."""
    settings: Mapping[str, Any]
    """Every setting that has an influence on the result, seed included."""
    joints: tuple[str, ...]
    """The command joints."""
    grippers: tuple[str, ...]
    """Those of them that are grippers."""
    units: tuple[str, ...]
    """rad, m or ratio, by joint."""
    lower: Floats
    """(J,) position limits [rad or m]."""
    upper: Floats
    """(J,) likewise."""
    dt_s: float
    """Control step [s]."""
    cameras: tuple[str, ...]
    """In model order."""
    stages: tuple[str, ...]
    """Where the time from capture to command goes, in order."""
    reference: str
    """What `recorded` is: "commands" or "joint states"."""
    urdf: str
    """Content of robot_description; empty when the bag has none."""
    holds: Mapping[str, int]
    """How often the arm would have been held or a chunk refused, by reason in words."""
    notices: tuple[str, ...]
    """What is unusual or was left out, in words."""
    incomplete: str = ""
    """Why the policy was not asked, or not to the end, in words; empty where it was."""
    measured_ns: Ints
    """(N,) times of `measured`, at most one per control step."""
    measured: Floats
    """(N, J) where the command joints were measured [rad or m]."""
    pictures_ns: Ints
    """(P,) time of each pair of pictures ``observed/<index>.jpg`` and ``dreamed/<index>.jpg`` beside the
    files, index with 6 digits; a dreamed one is missing where nothing was dreamed."""
    calls: Calls

    @property
    def duration_s(self) -> float:
        """From begin to end [s]."""
        return (self.end_ns - self.start_ns) / 1e9


def save(episode: Episode, folder: Path) -> None:
    """Writes the two files into a folder, the one that makes it complete last.

    Raises:
        OSError: They cannot be written, for example because the disk is full; no partial file is left under
            its final name.
    """
    arrays, words = _split(episode)
    calls, _ = _split(episode.calls)
    content: dict[str, Any] = arrays | {f"calls.{name}": array for name, array in calls.items()}
    unfinished = folder / f"{ARRAYS}.part"
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **content)
    unfinished.replace(folder / ARRAYS)
    write(folder / WORDS, json.dumps(words, indent=1, ensure_ascii=False))


def load(folder: Path) -> Episode:
    """Reads what `save` has written.

    Raises:
        ValueError: The folder holds no complete episode, or one of another version.
    """
    try:
        words = json.loads((folder / WORDS).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            arrays = dict(stored)
        prefix = "calls."
        calls = Calls(**{k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
        rest = {name: array for name, array in arrays.items() if not name.startswith(prefix)}
        words = {name: tuple(value) if isinstance(value, list) else value for name, value in words.items()}
        return Episode(**words, **rest, calls=calls)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: expected a complete episode of this version, got {error}") from error


def _split(value: Episode | Calls) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Fields that are arrays, and the others."""
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    fields.pop("calls", None)
    arrays = {name: entry for name, entry in fields.items() if isinstance(entry, np.ndarray)}
    return arrays, {name: entry for name, entry in fields.items() if name not in arrays}
