# SPDX-License-Identifier: Apache-2.0
"""A policy that knows what will be commanded: against the recording it makes no errors."""

from __future__ import annotations

import numpy as np

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.reference import Reference
from dreamzero_ros.motion.timeline import due_times_ns
from dreamzero_ros.policy.base import Policy


class RecordedPolicy(Policy):
    """Answers with what was recorded for the times at which the targets are due.

    Where that is not known, at the end of a recording for example, it asks the joints to stay where they last
    were known to be.

    Args:
        embodiment: The robot.
        reference: Of the bag that is played, for this policy alone; closed with it.
    """

    name = "recorded"
    uses_history = False

    def __init__(self, embodiment: Embodiment, reference: Reference) -> None:
        self._embodiment = embodiment
        self._reference = reference

    def reset(self) -> None:
        """Nothing to forget."""

    def infer(self, frame: Frame) -> ActionChunk:
        """The recorded targets."""
        robot = self._embodiment
        targets = self._reference.at(due_times_ns(frame.stamp_ns, robot.dt_s, robot.horizon))
        last = command_positions(robot, frame.positions)
        for row in targets:
            row[:] = last = np.where(np.isnan(row), last, row)
        return ActionChunk(
            stamp_ns=frame.stamp_ns, dt_s=robot.dt_s, joints=robot.command_joints, targets=targets
        )

    def close(self) -> None:
        """Closes the bag."""
        self._reference.close()
