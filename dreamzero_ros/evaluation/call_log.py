# SPDX-License-Identifier: Apache-2.0
"""Writes down every call of a policy, beside what was recorded and what the baselines predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.episode import Calls
from dreamzero_ros.evaluation.history import Floats, History
from dreamzero_ros.evaluation.reference import Reference
from dreamzero_ros.motion.splice import through_targets
from dreamzero_ros.motion.timeline import due_times_ns
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.policy.rollout import Command, Request
from dreamzero_ros.policy.stages import stages


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """What was known when the policy was asked."""

    request: Request
    """What it was asked."""
    at_ns: int
    """When [ns]."""
    image_age_s: Floats
    """(C,) age of the newest image of each camera [s]."""
    repeated: Floats
    """(A, J) where the last motion, made once more, leads [rad or m]; NaN where it is not known."""


def repeated(history: History, embodiment: Embodiment, request: Request) -> Floats:
    """(A, J) the measured motion of the last A control steps again, from `t_k` on [rad or m]."""
    frame = request.frame
    steps = np.arange(embodiment.horizon + 1) - embodiment.horizon
    times_ns = frame.stamp_ns + np.rint(steps * embodiment.dt_s * 1e9).astype(np.int64)
    newest_ns = history.newest_ns
    measured = history.at(times_ns if newest_ns is None else np.minimum(times_ns, newest_ns))
    led: Floats = command_positions(embodiment, frame.positions) + measured[1:] - measured[0]
    return led


class CallLog:
    """Grows with every answer.

    Args:
        embodiment: The robot.
        reference: What was recorded.
        speed_scale: At which chunks are executed.
    """

    def __init__(self, embodiment: Embodiment, reference: Reference, speed_scale: float) -> None:
        self._embodiment = embodiment
        self._reference = reference
        self._step_s = embodiment.dt_s / speed_scale
        self._rows: list[dict[str, Any]] = []
        self._stages: list[Mapping[str, float]] = []
        self._before: ActionChunk | None = None

    def __len__(self) -> int:
        """K, the calls so far."""
        return len(self._rows)

    def add(
        self,
        asked: Asked,
        chunk: ActionChunk,
        command: Command | None,
        executing: Trajectory | None,
        late: bool,
        now_ns: int,
    ) -> None:
        """Takes an answer.

        Args:
            asked: What it answers.
            chunk: The answer.
            command: What became of it; None: it was refused.
            executing: The trajectory that was in force before.
            late: It came after the one before had run out.
            now_ns: Time of the answer [ns].
        """
        request, robot = asked.request, self._embodiment
        dt_s, total_s = robot.dt_s, (now_ns - chunk.stamp_ns) / 1e9
        if request.new_session:
            self._before = None
        parts = stages(request.age_s, chunk.latency_s, total_s)
        self._stages.append({**parts, "command": max(0.0, parts["command"])})
        self._rows.append(
            {
                "captured_ns": chunk.stamp_ns,
                "asked_ns": asked.at_ns,
                "answered_ns": now_ns,
                "new_session": request.new_session,
                "positions": command_positions(robot, request.frame.positions),
                "targets": chunk.targets,
                "recorded": self._reference.at(due_times_ns(chunk.stamp_ns, dt_s, len(chunk.targets))),
                "repeated": asked.repeated,
                "late": late,
                "observation_age_s": total_s,
                "image_age_s": asked.image_age_s,
                "raw_jerk": _jerk(chunk.targets, dt_s),
                **self._motion(chunk, command, executing),
            }
        )
        if command is not None:
            self._before = command.chunk

    def _motion(
        self, chunk: ActionChunk, command: Command | None, executing: Trajectory | None
    ) -> dict[str, Any]:
        """What became of the targets."""
        planned = np.full_like(chunk.targets, np.nan)
        jumps = np.full((2, 2, len(chunk.joints)), np.nan)
        if command is None:
            counts = {"used": 0, "dropped": 0, "limit_hits": 0, "time_scale": 1.0}
        else:
            plan = command.plan
            counts = {
                "used": plan.used,
                "dropped": plan.dropped,
                "limit_hits": len(plan.limit_hits),
                "time_scale": plan.time_scale,
            }
            followed = slice(plan.dropped, plan.dropped + plan.used)
            due_ns = due_times_ns(command.chunk.stamp_ns, chunk.dt_s, len(chunk.targets))
            planned[followed] = plan.trajectory.sample(due_ns[followed])[0]
            if self._before is not None and plan.used:
                jumps = self._jumps(self._before, command, executing)
        return {
            **counts,
            "planned": planned,
            "raw_jump": jumps[0],
            "spliced_jump": jumps[1],
            "planned_jerk": _jerk(planned[~np.isnan(planned).any(axis=1)], chunk.dt_s),
        }

    def _jumps(self, before: ActionChunk, command: Command, executing: Trajectory | None) -> Floats:
        """(2, 2, J): raw and spliced, of position and velocity, where the chunk begins to be followed.

        A trajectory that has ended leaves nothing to splice onto.
        """
        at_ns, plan = command.plan.splice_ns, command.plan
        raw = [
            np.stack(through_targets(chunk.stamp_ns, self._step_s, chunk.joints, chunk.targets).sample(at_ns))
            for chunk in (before, command.chunk)
        ]
        spliced = np.full_like(raw[0], np.nan)
        if executing is not None and executing.end_ns >= plan.trajectory.start_ns:
            spliced = np.stack(plan.trajectory.sample(at_ns)) - np.stack(executing.sample(at_ns))
        return np.stack([raw[1] - raw[0], spliced])

    def stages(self) -> tuple[str, ...]:
        """Where the time from capture to command went, in order."""
        names: dict[str, None] = {}
        for parts in self._stages:
            names |= dict.fromkeys(name for name in parts if name != "command")
        return (*names, "command") if self._stages else ()

    def calls(self, psnr: Floats, ssim: Floats) -> Calls:
        """All of them.

        Args:
            psnr: (K, T) [dB].
            ssim: (K, T).
        """
        A, J = self._embodiment.horizon, len(self._embodiment.command_joints)
        shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            **dict.fromkeys(("captured_ns", "asked_ns", "answered_ns"), (np.int64, ())),
            **dict.fromkeys(("used", "dropped", "limit_hits"), (np.int64, ())),
            **dict.fromkeys(("new_session", "late"), (np.bool_, ())),
            **dict.fromkeys(("time_scale", "observation_age_s"), (np.float64, ())),
            **dict.fromkeys(("targets", "planned", "recorded", "repeated"), (np.float64, (A, J))),
            **dict.fromkeys(("positions", "raw_jerk", "planned_jerk"), (np.float64, (J,))),
            **dict.fromkeys(("raw_jump", "spliced_jump"), (np.float64, (2, J))),
            "image_age_s": (np.float64, (len(self._embodiment.cameras),)),
        }
        arrays: dict[str, Any] = {
            name: np.array([row[name] for row in self._rows], kind).reshape(len(self._rows), *shape)
            for name, (kind, shape) in shapes.items()
        }
        names = self.stages()
        spent = [[parts.get(name, np.nan) for name in names] for parts in self._stages]
        stages_s = np.array(spent, np.float64).reshape(len(self._rows), len(names))
        return Calls(**arrays, stages_s=stages_s, psnr=psnr, ssim=ssim)


def _jerk(positions: Floats, dt_s: float) -> Floats:
    """(J,) root mean square of the third differences of (N, J) positions; NaN for fewer than 4."""
    if len(positions) < 4:
        return np.full(positions.shape[1], np.nan)
    third = np.diff(positions, 3, axis=0) / dt_s**3
    jerk: Floats = np.sqrt(np.mean(third**2, axis=0))
    return jerk
