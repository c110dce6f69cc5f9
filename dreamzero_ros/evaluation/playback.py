# SPDX-License-Identifier: Apache-2.0
"""Plays a stretch of a bag through a policy, teacher-forced, as the policy node would live it.

The same buffer, rollout and motion code as in the node are driven on the log times of the bag, or, where its
stamps are on another clock, on that of the stamps: messages are taken in log order; after every image, every
`WATCH_PERIOD_S` and when an answer is there, the motion is looked after and the policy is asked when it is
time. Its answer is there after a latency in the time of the bag. The recorded arm goes its own way: nobody
watches whether it does what it is told.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.call_log import Asked, CallLog, repeated
from dreamzero_ros.evaluation.description import described
from dreamzero_ros.evaluation.dreams import Dreams
from dreamzero_ros.evaluation.episode import Episode
from dreamzero_ros.evaluation.history import Floats, History
from dreamzero_ros.evaluation.observations import Felt, Seen, observations
from dreamzero_ros.evaluation.pictures import Pictures
from dreamzero_ros.evaluation.reference import Reference
from dreamzero_ros.evaluation.spans import Span
from dreamzero_ros.evaluation.streams import Stream
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.buffer import SLACK_S, ObservationBuffer
from dreamzero_ros.observation.intake import Intake
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.rollout import WATCH_PERIOD_S, Request, Rollout, State
from dreamzero_ros.policy.worker import Dream, not_ahead

NS_PER_S = 1_000_000_000

JITTER = 0.9
"""Share of a control step after which the next one has begun for `Episode.measured`: stamps are not exact."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[-+]?\d+)?(?![\w.])")
"""A number by itself: reasons that differ in nothing else are counted together."""


@dataclass(frozen=True, kw_only=True)
class PlaybackSettings:
    """How a bag is played."""

    parameters: PolicyParameters
    """Those of the policy node; `added_latency_s` is simulated, not waited for."""
    latency_s: float | None = None
    """From question to answer [s]; None: what the call takes here, and `added_latency_s`."""
    warm_latency_s: float = 0.0
    """Duration of a warm call [s], on which pacing counts before the first answer, where none is fixed."""

    @property
    def first_latency_s(self) -> float:
        """What pacing counts on before the first answer [s]."""
        return self.after(self.warm_latency_s)

    def after(self, measured_s: float) -> float:
        """Latency of a call that took so long here [s]."""
        return measured_s + self.parameters.added_latency_s if self.latency_s is None else self.latency_s

    def shown(self) -> dict[str, object]:
        """All of them by name, for people."""
        return {**dataclasses.asdict(self.parameters), "latency_s": self.latency_s}


def play(
    path: Path,
    span: Span,
    embodiment: Embodiment,
    streams: Sequence[Stream],
    policy: Policy,
    settings: PlaybackSettings,
    folder: Path,
    progress: Callable[[int], None] = lambda log_ns: None,
) -> Episode:
    """Plays one episode; memory does not grow with its length but for the calls themselves.

    As in a running node, what was logged in the seconds before the episode has been seen when it begins.

    Args:
        path: The bag.
        span: The episode.
        embodiment: The robot, by its file.
        streams: Its streams, on topics of the bag.
        policy: Is asked; it is not closed.
        settings: See there.
        folder: Pictures are written into it.
        progress: Called with the time that was reached on the clock of the episode [ns].

    Raises:
        BagError: The bag is damaged.
        OSError: Pictures cannot be written.
    """
    with Bag(path) as bag:
        robot, urdf, notices = described(bag, embodiment)
        clock = span.clock(bag, streams)
        with closing(Reference(path, robot, streams, span.start_ns, clock)) as reference:
            pictures = Pictures(folder)
            playback = _Playback(robot, policy, settings, reference, pictures, span)
            begin_ns = clock.logged(span.start_ns - playback.reach_ns)
            _, last_ns = span.logged_ns or (span.start_ns, span.end_ns)
            with closing(observations(bag, robot, streams, begin_ns, last_ns + 1, clock)) as seen:
                for item in seen:
                    playback.take(item)
                    progress(item.log_ns)
                    if playback.failed:
                        break
            playback.finish()
        limits = [robot.limits[joint] for joint in robot.command_joints]
        psnr, ssim = playback.dreams.likeness()
        return Episode(
            bag=str(path),
            number=span.number,
            start_ns=span.start_ns,
            end_ns=span.end_ns,
            instruction=span.instruction,
            embodiment=robot.name,
            policy=policy.name,
            settings=settings.shown(),
            joints=robot.command_joints,
            grippers=robot.gripper_joints,
            units=tuple(robot.joint_units[joint] for joint in robot.command_joints),
            lower=np.array([limit.lower for limit in limits]),
            upper=np.array([limit.upper for limit in limits]),
            dt_s=robot.dt_s,
            cameras=tuple(camera.name for camera in robot.cameras),
            stages=playback.log.stages(),
            reference=reference.kind,
            urdf=urdf,
            holds=dict(playback.holds),
            notices=(*policy.doubts, *notices, *playback.notices()),
            incomplete=playback.incomplete(),
            measured_ns=np.array(playback.measured_ns, np.int64),
            measured=np.array(playback.measured).reshape(-1, len(robot.command_joints)),
            pictures_ns=np.array(pictures.times_ns, np.int64),
            calls=playback.log.calls(psnr, ssim),
        )


@dataclass(frozen=True, eq=False)
class _Answer:
    """What the policy said, and when it will be known."""

    due_ns: int
    asked: Asked
    chunk: ActionChunk | None
    dream: Dream | None
    error: Exception | None


class _Playback:
    """The node's part: takes messages, looks after the motion, asks the policy.

    Args:
        embodiment: The robot.
        policy: Is asked.
        settings: See there.
        reference: What was recorded.
        pictures: Written to.
        span: The episode.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        policy: Policy,
        settings: PlaybackSettings,
        reference: Reference,
        pictures: Pictures,
        span: Span,
    ) -> None:
        self._embodiment = embodiment
        self._policy = policy
        self._settings = settings
        self._span = span
        parameters = settings.parameters
        rollout = dataclasses.replace(parameters.rollout(embodiment), tracking_tolerance=np.inf)
        self._buffer = ObservationBuffer(embodiment, rollout.max_observation_age_s)
        self._rollout = Rollout(embodiment, self._buffer, policy.uses_history, rollout, policy.foresight)
        self._rollout.pacing.record(settings.first_latency_s)
        self._intake = Intake(self._buffer, self._rollout.notes)
        self._dt_ns = round(embodiment.dt_s * NS_PER_S)
        self.reach_ns = self._buffer.span_ns
        """How much before the episode is taken in [ns]."""
        self.log = CallLog(embodiment, reference, parameters.speed_scale)
        self.dreams = Dreams(embodiment, self._buffer, pictures)
        self.holds: Counter[str] = Counter()
        """How often the arm was held or a chunk refused, by reason."""
        self.measured_ns: list[int] = []
        """Times of `measured` [ns]."""
        self.measured: list[Floats] = []
        """(J,) positions, at most one per control step [rad or m]."""
        self.failed = ""
        """Why the policy cannot go on, in words."""
        self._history = History(
            len(embodiment.command_joints),
            embodiment.horizon * self._dt_ns + round(SLACK_S * NS_PER_S),
            round(2 * embodiment.joint_tolerance_s * NS_PER_S),
        )
        self._remarks: dict[str, str] = {}
        self._answers: deque[_Answer] = deque()
        self._free_ns = self._watch_ns = span.start_ns
        self._asked_ns = 0
        self._executing: Trajectory | None = None
        self._said = self._rollout.state

    def take(self, item: Seen | Felt) -> None:
        """Takes the next message, once everything that is due before it was done."""
        self._pass_until(item.log_ns)
        if isinstance(item, Felt):
            self._feel(item)
        else:
            self._see(item)

    def finish(self) -> None:
        """Goes on to the end of the episode."""
        if not self.failed:
            self._pass_until(self._span.end_ns)

    def notices(self) -> list[str]:
        """What is unusual, in words."""
        found = [f"{stream}: {words}" for stream, words in self._remarks.items()]
        found += [
            f"{stream}: {sentence}"
            for stream, judgement in self._intake.judgements.items()
            for sentence in judgement.sentences()
        ]
        if self.incomplete():
            found.append(self.incomplete())
        return found

    def incomplete(self) -> str:
        """Why the policy was not asked, or not to the end, in words; empty where it was."""
        if self.failed or len(self.log):
            return self.failed
        if self._asked_ns:
            return "the policy was asked, but the episode ended before an answer was there"
        return f"the policy was never asked: {self._rollout.reason}"

    # Messages

    def _feel(self, item: Felt) -> None:
        self._intake.joint_state(item.message, item.topic)
        newest = self._buffer.newest_positions()
        if (
            newest is None or newest[0] == self._history.newest_ns
        ):  # refused, late, or another joint is awaited
            return
        stamp_ns, positions = newest[0], command_positions(self._embodiment, newest[1])
        self._history.add(stamp_ns, positions)
        since_ns = stamp_ns - self.measured_ns[-1] if self.measured_ns else self._dt_ns
        if item.log_ns >= self._span.start_ns and since_ns >= JITTER * self._dt_ns:
            self.measured_ns.append(stamp_ns)
            self.measured.append(positions)

    def _see(self, item: Seen) -> None:
        view = self._intake.image(item.camera, item.stamp_ns, item.read)
        if view is None:
            return
        resizing = view.resizing(item.camera)
        if resizing:
            self._remarks.setdefault(item.camera.name, resizing)
        if item.log_ns >= self._span.start_ns:
            self._advance(item.log_ns)

    # Time

    def _pass_until(self, log_ns: int) -> None:
        """Does what is due up to a time."""
        while not self.failed:
            due_ns = min([self._watch_ns, *(answer.due_ns for answer in self._answers)])
            if due_ns > log_ns:
                return
            if due_ns == self._watch_ns:
                self._watch_ns += round(WATCH_PERIOD_S * NS_PER_S)
            self._advance(due_ns)

    def _advance(self, now_ns: int) -> None:
        """Does at a time what the policy node does."""
        if self._rollout.state is State.IDLE:
            self._rollout.start(self._span.instruction)
        while self._answers and self._answers[0].due_ns <= now_ns:
            self._deliver(self._answers.popleft(), now_ns)
        self._follow(self._rollout.watch(now_ns))
        self._note_hold()
        if not self.failed and now_ns > self._asked_ns:  # an answer without latency can be refused
            request = self._rollout.request(now_ns)
            if request is not None:
                self._ask(request, now_ns)
            else:
                self._look_ahead(now_ns)
        self.dreams.look(now_ns)

    def _follow(self, trajectory: Trajectory | None) -> None:
        if trajectory is not None:
            self._executing = trajectory

    def _note_hold(self) -> None:
        if self._rollout.state is not self._said and self._rollout.state in (State.HOLDING, State.STOPPED):
            self._count(self._rollout.reason)
        self._said = self._rollout.state

    def _count(self, reason: str) -> None:
        self.holds[_NUMBER.sub("…", reason)] += 1

    # The policy

    def _ask(self, request: Request, now_ns: int) -> None:
        self._asked_ns = now_ns
        ages_s = self._buffer.ages_s(now_ns)
        asked = Asked(
            request=request,
            at_ns=now_ns,
            image_age_s=np.array([ages_s[camera.name] for camera in self._embodiment.cameras], np.float64),
            repeated=repeated(self._history, self._embodiment, request),
        )
        chunk = dream = error = None
        begin_s = time.perf_counter()
        try:
            if request.new_session:
                self._policy.reset()
            chunk = self._policy.infer(request.frame)
        except Exception as raised:  # whatever it is, the report says it in words
            error = raised
        latency_s = self._settings.after(time.perf_counter() - begin_s)
        video = None if chunk is None else self._policy.imagined()
        if chunk is not None and video is not None:
            dream = Dream(chunk, video)
        self._free_ns = max(now_ns, self._free_ns) + round(latency_s * NS_PER_S)
        self._answers.append(_Answer(self._free_ns, asked, chunk, dream, error))

    def _look_ahead(self, now_ns: int) -> None:
        images = self._rollout.foresee(now_ns)
        if images is None:
            return
        try:
            self._policy.look_ahead(images)
        except Exception as error:  # the next answer tells whether it matters
            self._remarks.setdefault("policy", not_ahead(error))

    def _deliver(self, answer: _Answer, now_ns: int) -> None:
        chunk, serial = answer.chunk, answer.asked.request.serial
        if chunk is None:
            assert answer.error is not None
            self._refuse(serial, answer.error, now_ns)
            at_s = (now_ns - self._span.start_ns) / NS_PER_S
            kind = type(answer.error).__name__
            self.failed = f"the policy failed after {at_s:.1f} s, so the run ended: {kind}: {answer.error}"
            return
        misses = self._rollout.counters.deadline_misses
        try:
            command = self._rollout.accept(serial, chunk, now_ns)
        except MotionError as error:
            self.log.add(answer.asked, chunk, None, self._executing, False, now_ns)
            self.dreams.add(chunk.canvas, answer.dream)
            self._refuse(serial, error, now_ns)
            return
        if command is None:
            return
        late = self._rollout.counters.deadline_misses > misses
        self.log.add(answer.asked, chunk, command, self._executing, late, now_ns)
        self.dreams.add(chunk.canvas, answer.dream)
        if not self._settings.parameters.dry_run:
            self._executing = command.plan.trajectory
        if not command.plan.used:
            self._count(self._rollout.reason)
            self._said = self._rollout.state

    def _refuse(self, serial: int, error: Exception, now_ns: int) -> None:
        self._follow(self._rollout.refuse(serial, error, now_ns))
        self._count(str(error))
        self._said = self._rollout.state
