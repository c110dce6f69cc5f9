# SPDX-License-Identifier: Apache-2.0
"""What is evaluated, and the player that does it, one episode after the other."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.description import described
from dreamzero_ros.evaluation.episode import Episode, save
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.playback import PlaybackSettings, play
from dreamzero_ros.evaluation.recorded import RecordedPolicy
from dreamzero_ros.evaluation.reference import Reference
from dreamzero_ros.evaluation.spans import Span, Split
from dreamzero_ros.evaluation.streams import Stream, streams
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters

EPISODES = "episodes"
"""Folder of the finished episodes, each named by its id."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is evaluated and how: the same for every bag, and for every process that takes part."""

    parameters: PolicyParameters
    """Those of the policy node; they name robot and policy."""
    recorded: bool = False
    """Whether the recording itself stands for the policy."""
    latency_s: float | None = None
    """From question to answer [s]; None: what a call takes here."""
    split: Split = field(default_factory=Split)
    """How bags are cut into episodes."""
    topics: Mapping[str, str] = field(default_factory=dict)
    """Other topics, by name of the stream."""
    namespace: str = "/"
    """Of relative topics."""

    def streams(self) -> tuple[Stream, ...]:
        """What the robot needs of a bag.

        Raises:
            ValueError: Robot file or topics cannot be used.
        """
        return streams(self.parameters.load(), self.topics, self.namespace)

    @property
    def gpus(self) -> int:
        """On how many of them the policy runs."""
        return self.parameters.device.count("cuda") if self.parameters.policy == "dreamzero" else 0

    def shown(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        split = {name: str(v) if isinstance(v, Path) else v for name, v in vars(self.split).items()}
        return {
            "parameters": dataclasses.asdict(self.parameters),
            "recorded": self.recorded,
            "latency_s": self.latency_s,
            "split": split,
            "topics": dict(self.topics),
            "namespace": self.namespace,
        }


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One episode that is to be played."""

    id: str
    """Name of its folder."""
    bag: Path
    """The recording."""
    span: Span
    """What of it."""

    def folder(self, out: Path) -> Path:
        """Where it lies once it is finished, in the folder of an evaluation."""
        return out / EPISODES / self.id


class Player:
    """Plays episodes; loads the policy once.

    Args:
        job: See there.

    Raises:
        ValueError: Robot, topics or policy cannot be used; says what to change.
    """

    def __init__(self, job: Job) -> None:
        self._robot = job.parameters.load()
        self._streams = job.streams()
        self._policy, warm_s = None, 0.0
        if not job.recorded:
            waited = dataclasses.replace(job.parameters, added_latency_s=0.0)  # it is simulated
            self._policy, warm_s = make_policy(waited, self._robot, lambda: 0)
        self._settings = PlaybackSettings(
            parameters=job.parameters, latency_s=job.latency_s, warm_latency_s=warm_s
        )

    def play(self, unit: Unit, out: Path, progress: Callable[[int], None] = lambda log_ns: None) -> None:
        """Plays one episode; its folder is there once it is complete.

        Raises:
            BagError: The bag is damaged.
            OSError: Something cannot be written, for example because the disk is full.
        """
        unfinished = out / EPISODES / f".{unit.id}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            save(self._episode(unit, unfinished, progress), unfinished)
            unfinished.replace(unit.folder(out))
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def close(self) -> None:
        """Frees the policy."""
        if self._policy is not None:
            self._policy.close()

    def _episode(self, unit: Unit, folder: Path, progress: Callable[[int], None]) -> Episode:
        common = (unit.bag, unit.span, self._robot, self._streams)
        if self._policy is not None:
            return play(*common, self._policy, self._settings, folder, progress)
        with Bag(unit.bag) as bag:
            robot, _, _ = described(bag, self._robot)
            clock = unit.span.clock(bag, self._streams)
        reference = Reference(unit.bag, robot, self._streams, unit.span.start_ns, clock)
        with closing(RecordedPolicy(robot, reference)) as policy:
            return play(*common, policy, self._settings, folder, progress)


def played(
    player: Player, unit: Unit, out: Path, progress: Callable[[int], None] = lambda log_ns: None
) -> str:
    """Plays an episode as `Player.play`; returns what is wrong with the bag, in words, or nothing."""
    try:
        player.play(unit, out, progress)
    except BagError as error:
        return str(error)
    return ""
