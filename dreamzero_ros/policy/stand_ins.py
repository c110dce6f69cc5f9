# SPDX-License-Identifier: Apache-2.0
"""Policies without a model, for first contact with a robot and for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.policy.base import Policy


class HoldPolicy(Policy):
    """Asks every joint to stay where it was observed."""

    name = "hold"
    uses_history = False

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment

    def reset(self) -> None:
        """Nothing to forget."""

    def infer(self, frame: Frame) -> ActionChunk:
        """A chunk of the observed positions."""
        positions = command_positions(self._embodiment, frame.positions)
        return ActionChunk(
            stamp_ns=frame.stamp_ns,
            dt_s=self._embodiment.dt_s,
            joints=self._embodiment.command_joints,
            targets=np.tile(positions, (self._embodiment.horizon, 1)),
        )


class ReplayPolicy(Policy):
    """Gives out recorded target tables in order, each stamped with the frame it answers.

    Args:
        embodiment: The robot.
        chunks: Tables of (horizon, J) absolute joint positions, columns as `Embodiment.command_joints`.
    """

    name = "replay"
    uses_history = False

    def __init__(self, embodiment: Embodiment, chunks: Sequence[ArrayLike]) -> None:
        self._embodiment = embodiment
        self._chunks = [np.asarray(chunk, dtype=np.float64) for chunk in chunks]
        self._next = 0

    @classmethod
    def of_run(cls, embodiment: Embodiment, path: Path) -> ReplayPolicy:
        """Reads the chunks of a run that the demo wrote.

        Raises:
            ValueError: The file cannot be read, holds no chunks, or was recorded with other joints.
        """
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            joints, chunks = tuple(run["joints"]), [chunk["targets"] for chunk in run["chunks"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"recording {path}: expected the run.json of a demo, got {error!r}") from error
        if joints != embodiment.command_joints:
            raise ValueError(f"recording {path}: expected joints {embodiment.command_joints}, got {joints}")
        if not chunks:
            raise ValueError(f"recording {path}: it holds no chunks")
        return cls(embodiment, chunks)

    def reset(self) -> None:
        """Starts again with the first table."""
        self._next = 0

    def infer(self, frame: Frame) -> ActionChunk:
        """The next table.

        Raises:
            ValueError: The recording is at its end.
        """
        if self._next >= len(self._chunks):
            raise ValueError(f"the recording holds {len(self._chunks)} chunks and is at its end")
        targets = self._chunks[self._next]
        self._next += 1
        return ActionChunk(
            stamp_ns=frame.stamp_ns,
            dt_s=self._embodiment.dt_s,
            joints=self._embodiment.command_joints,
            targets=targets,
        )
