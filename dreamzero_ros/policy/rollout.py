# SPDX-License-Identifier: Apache-2.0
"""One run of a policy: when it is asked, what the arm is told, and why the arm is not moving.

No threads, no clock, no messages: the caller passes the time, runs the policy where it likes and sends the
trajectories that come back. Live nodes and offline evaluation drive the same object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.plan import Plan
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.buffer import Missing, ObservationBuffer
from dreamzero_ros.policy.base import Foresight, Images
from dreamzero_ros.policy.counters import Counters
from dreamzero_ros.policy.execution import Execution
from dreamzero_ros.policy.idle import IdleMonitor
from dreamzero_ros.policy.pacing import Pacing
from dreamzero_ros.policy.settings import RolloutSettings

NS_PER_S = 1_000_000_000

WATCH_PERIOD_S = 0.02
"""Longest time between two looks at the running motion [s]; images and answers are looked at as they come."""

EARLY_STEPS = 3 / 8
"""How much sooner than planned an image set may be captured to be looked at [control steps]; stamps jitter.

Cameras in step, at one, two or four times the control rate, have no stamp near that limit: which set will be
looked at is known before.
"""


class State(Enum):
    """What the arm is doing."""

    IDLE = "no run"
    APPROACHING = "moving to the start pose"
    WAITING = "waiting for the first chunk"
    FOLLOWING = "following"
    HOLDING = "holding"
    PAUSED = "paused"
    STOPPED = "stopped"


OBSERVING = (State.APPROACHING, State.WAITING, State.FOLLOWING, State.HOLDING)
"""States in which observations must be fresh."""
MOVING = (State.APPROACHING, State.FOLLOWING)
"""States in which the arm must be where it was told to be."""


@dataclass(frozen=True)
class Request:
    """A call of the policy that is due now."""

    frame: Frame
    new_session: bool
    """True when the policy is to be reset first."""
    serial: int
    """To be given back with the answer; an answer to an older request is dropped."""
    age_s: float
    """Age of the newest image set when the request was made [s]."""


@dataclass(frozen=True)
class Command:
    """What became of a chunk."""

    index: int
    """Number of the chunk within the run."""
    instruction: str
    chunk: ActionChunk
    plan: Plan
    latency_s: float
    """Capture to command [s]."""


@dataclass
class _Session:
    """The policy's memory as the rollout knows it."""

    fresh: bool = True
    """The next call begins a session."""
    captured_ns: int = 0
    """Capture time of the last call [ns]."""
    foreseen: bool = False
    """The first images of the next call are given out already."""
    covered_until_ns: int = 0
    """When the last target that was sent is due [ns]; 0 before the first chunk, which cannot be late."""


class Rollout:
    """The state of one run; see the module.

    Args:
        embodiment: The robot.
        buffer: Filled by the caller with images and joint states.
        uses_history: As `Policy.uses_history`.
        settings: See there.
        foresight: As `Policy.foresight`.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        buffer: ObservationBuffer,
        uses_history: bool,
        settings: RolloutSettings = RolloutSettings(),
        foresight: Foresight | None = None,
    ) -> None:
        self.state = State.IDLE
        self.reason = "no run: send a goal to the run action"
        self.instruction = ""
        self.counters = Counters()
        self.pacing = Pacing(embodiment.horizon, embodiment.execute_steps)
        self.notes: dict[str, str] = {}
        """What is wrong with the messages of a stream, in words, by stream name; the caller's to fill."""
        self.idle_s = 0.0
        """For how long the arm has followed chunks without moving [s]."""
        self._embodiment = embodiment
        self._buffer = buffer
        self._images = len(embodiment.image_offsets_steps) if uses_history else 1
        self._foresight = foresight
        self._execution = Execution(embodiment, settings)
        self._idle = IdleMonitor()
        self._locks: dict[str, str] = {}
        self._waiting_for = ""
        self._session = _Session()
        self._from_start_pose = False
        self._serial = 0
        self._pending: int | None = None
        self.apply(settings)

    def apply(self, settings: RolloutSettings) -> None:
        """Other settings, from now on."""
        self._settings = settings
        self._buffer.max_age_s = settings.max_observation_age_s
        self._execution.apply(settings)
        step_s = self._embodiment.dt_s / settings.motion.speed_scale
        self.pacing.adjust(step_s, settings.latency_quantile, settings.margin_steps)

    @property
    def waits(self) -> bool:
        """Whether it was told to wait for something."""
        return bool(self._waiting_for)

    @property
    def speed_scale(self) -> float:
        """Speed at which chunks are executed; 1 is that of the policy."""
        return self._settings.motion.speed_scale

    def describe(self, embodiment: Embodiment) -> None:
        """The same robot with other limits or another start pose, for what is planned from now on."""
        self._embodiment = embodiment
        self._execution.describe(embodiment)

    # What the operator does

    def start(self, instruction: str, from_start_pose: bool = False) -> None:
        """Begins a run; nothing moves before the first chunk, or before the way to the start pose.

        Args:
            instruction: What the robot is to do.
            from_start_pose: The arm moves to the start pose of the robot file first, gently.

        Raises:
            ValueError: The instruction is empty, a run is active, or the arm is locked; or the start pose is
                asked for in a dry run.
        """
        if self.state is not State.IDLE:
            raise ValueError("a run is active: cancel it first")
        self._require_unlocked()
        if from_start_pose and self._settings.dry_run:
            raise ValueError("in a dry run nothing is commanded: run without the way to the start pose")
        self.instruction = _checked(instruction)
        self.counters = Counters()
        self._from_start_pose = from_start_pose
        self._begin_session(State.WAITING, "waiting for the first chunk")

    def end(self, now_ns: int, reason: str) -> Trajectory | None:
        """Ends the run; returns the soft stop to send, None when the arm rests."""
        self._from_start_pose = False
        self._waiting_for = ""
        self._begin_session(State.IDLE, reason)
        return self._execution.stop(now_ns)

    def change_instruction(self, instruction: str) -> None:
        """Goes on with another instruction in a new session; the current chunk is executed meanwhile.

        Raises:
            ValueError: The instruction is empty, or there is no run.
        """
        if self.state is State.IDLE:
            raise ValueError("no run is active: send a goal to the run action")
        self.instruction = _checked(instruction)
        self._forget_session()

    def restart(self) -> None:
        """Makes the next call begin a new session; an answer under way is dropped. The way out of STOPPED.

        Raises:
            ValueError: The arm is locked.
        """
        self._require_unlocked()
        self._forget_session()
        if self.state is State.STOPPED:
            self._begin_session(State.WAITING, "waiting for the first chunk after the stop")

    def lock(self, name: str, reason: str, now_ns: int) -> Trajectory | None:
        """Stops the arm for as long as `unlock` was not called; returns the stop to send.

        Args:
            name: What locks, for example "e-stop".
            reason: In words, for the operator.
            now_ns: Time now [ns, ROS clock].
        """
        self._locks[name] = reason
        return self.trip(reason, now_ns)

    def unlock(self, name: str) -> None:
        """Takes a lock away; a stopped run goes on after `restart`."""
        self._locks.pop(name, None)

    def wait_for(self, reason: str) -> None:
        """Asks nothing and begins no way while there is a reason, in words; an empty one lets it go on."""
        self._waiting_for = reason

    def trip(self, reason: str, now_ns: int) -> Trajectory | None:
        """Stops softly and stays stopped until `restart`; returns the stop to send. Without a run nothing."""
        if self.state is State.IDLE:
            return None
        self._begin_session(State.STOPPED, f"{reason}; call the reset service to go on")
        return self._execution.stop(now_ns)

    def release(self, joints: Collection[str]) -> None:
        """Somebody else moves these joints, or their controller holds them: told to stay where they are.

        The next motion begins where they then are measured.
        """
        newest = self._buffer.newest_of_each()
        if newest is not None:
            self._execution.release(joints, command_positions(self._embodiment, newest))

    def pause(self, now_ns: int) -> Trajectory | None:
        """Stops softly and holds until `resume`; returns the stop to send.

        Raises:
            ValueError: There is no run.
        """
        if self.state in (State.IDLE, State.STOPPED):
            raise ValueError(f"nothing to pause: {self.reason}")
        self._begin_session(State.PAUSED, "paused by the operator")
        return self._execution.stop(now_ns)

    def resume(self) -> None:
        """Goes on after `pause` with a new session.

        Raises:
            ValueError: The run is not paused.
        """
        if self.state is not State.PAUSED:
            raise ValueError("the run is not paused: nothing to resume")
        self._begin_session(State.WAITING, "waiting for the first chunk after the pause")

    # What the loop does

    def watch(self, now_ns: int) -> Trajectory | None:
        """Looks after the running motion; returns what is to be sent now, if anything.

        To be called often. Stale observations stop the arm; a chunk that runs out does so by itself, since
        every trajectory ends at rest.
        """
        return self._look(now_ns) or self._execution.renew(now_ns)

    def request(self, now_ns: int) -> Request | None:
        """The call of the policy that is due now, or None; why not is in `reason` unless the arm follows."""
        if self.state not in (State.WAITING, State.FOLLOWING, State.HOLDING) or self._pending is not None:
            return None
        if self._waiting_for:
            self.reason = self._waiting_for
            return None
        if self._from_start_pose or not self._capture_due(now_ns):
            return None
        images = 1 if self._session.fresh else self._images
        frame = self._missing_history(now_ns) or self._buffer.frame(images, self.instruction, now_ns)
        if isinstance(frame, Missing):
            if self.state is not State.FOLLOWING:
                self.reason = self._explain(frame)
            return None
        self._serial += 1
        self._pending = self._serial
        request = Request(
            frame=frame,
            new_session=self._session.fresh,
            serial=self._serial,
            age_s=(now_ns - frame.stamp_ns) / NS_PER_S,
        )
        if self.state is State.WAITING:
            self.reason = "the policy looks at its first image set"
        elif self.state is State.HOLDING and request.new_session:
            self.reason += "; the policy is asked again"
        self._note_capture(frame.stamp_ns)
        return request

    def foresee(self, now_ns: int) -> Images | None:
        """The first images of the next call: once, as soon as they are known and the policy is idle.

        None otherwise; also where the policy makes no use of them, where it would not be done with them when
        the call is due, and in blocking mode, where nobody knows when the arm will rest.
        """
        foresight, session = self._foresight, self._session
        if foresight is None or not self._settings.look_ahead or self._settings.mode == "blocking":
            return None
        if session.fresh or session.foreseen or self._pending is not None:
            return None
        if now_ns + round(foresight.takes_s * NS_PER_S) > self._due_ns:
            return None
        images = self._buffer.foresee(foresight.images, self._due_ns)
        session.foreseen = images is not None
        return images

    def accept(self, serial: int, chunk: ActionChunk, now_ns: int) -> Command | None:
        """Takes an answer of the policy; returns the command, None when the answer is no longer wanted.

        It is not wanted while observations are missing, either: nothing begins to move unobserved.

        Raises:
            MotionError: The chunk must not be executed; to be handed to `refuse`.
        """
        if serial != self._pending:
            return None
        if self._buffer.missing(1, now_ns) is not None:
            self._forget_session()
            return None
        latency_s = (now_ns - chunk.stamp_ns) / NS_PER_S
        chunk = self._to_execute(chunk, now_ns)
        made = self._execution.follow(chunk, self._newest(), now_ns)
        self._pending = None
        self.pacing.record(latency_s)
        late = self._settings.mode == "asynchronous" and 0 < self._session.covered_until_ns < now_ns
        self.counters.count(made, latency_s, late)
        self._session.covered_until_ns = made.covered_until_ns
        if made.used:
            self.state = State.FOLLOWING
            self.reason = "dry run: nothing is commanded" if self._settings.dry_run else ""
        else:
            self.state = State.HOLDING
            self.reason = f"the chunk came after its last target, {latency_s:.2f} s after its observation"
        return Command(self.counters.chunks - 1, self.instruction, chunk, made, latency_s)

    def refuse(self, serial: int, error: Exception, now_ns: int) -> Trajectory | None:
        """A chunk could not be had or executed: holds, says why, and begins a new session."""
        if serial != self._pending:
            return None
        self._begin_session(State.HOLDING, str(error))
        return self._execution.stop(now_ns)

    # How it is done

    def _look(self, now_ns: int) -> Trajectory | None:
        """What the observations and the state of the motion demand."""
        if self.state not in OBSERVING:
            return None
        missing = self._buffer.missing(1, now_ns)
        if missing is not None:
            return self._hold(self._explain(missing), now_ns)
        stamp_ns, measured = self._measured()
        away = self._execution.away(stamp_ns, measured) if self.state in MOVING else ""
        if away:
            return self.trip(away, now_ns)
        self._note_idleness(stamp_ns, measured)
        if self._from_start_pose and not self._waiting_for and self._execution.rests(now_ns):
            return self._approach(now_ns)
        if self.state is State.FOLLOWING and now_ns > self._session.covered_until_ns:
            self.state = State.HOLDING
            if self._settings.mode == "blocking":
                self.reason = "executed; waiting for the next chunk"
            else:
                self.reason = "the next chunk is late: the arm came to rest at the end of the last one"
        return None

    def _approach(self, now_ns: int) -> Trajectory | None:
        """Begins the way to the start pose; once it was gone, the run goes on."""
        if self.state is State.APPROACHING:
            self._from_start_pose = False
            self._begin_session(State.WAITING, "at the start pose; waiting for the first chunk")
            return None
        try:
            trajectory = self._execution.approach(self._newest(), now_ns)
        except MotionError as error:
            return self.trip(f"the start pose cannot be approached: {error}", now_ns)
        seconds = (trajectory.end_ns - now_ns) / NS_PER_S
        self._begin_session(State.APPROACHING, f"moving to the start pose, {seconds:.1f} s")
        return trajectory

    def _hold(self, reason: str, now_ns: int) -> Trajectory | None:
        """Observations stopped: so does the arm; the next call begins a new session."""
        if self.state not in MOVING:
            self.reason = reason
            return None
        self._begin_session(State.HOLDING, reason)
        return self._execution.stop(now_ns)

    def _begin_session(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        self._session = _Session()
        self._pending = None
        self._execution.forgive()
        self._idle.clear()
        self.idle_s = 0.0

    def _forget_session(self) -> None:
        self._session.fresh = True
        self._pending = None

    def _require_unlocked(self) -> None:
        if self._locks:
            raise ValueError("; ".join(self._locks.values()))

    def _note_idleness(self, stamp_ns: int, measured: NDArray[np.float64]) -> None:
        if self.state is State.FOLLOWING:
            self.idle_s = self._idle.idle_s(stamp_ns, measured, self._settings.idle_motion)

    def _capture_due(self, now_ns: int) -> bool:
        """Whether the newest image set is the one to look at next."""
        newest_ns = self._buffer.newest_set_ns()
        if newest_ns is None or self._session.fresh:
            return True
        if self._settings.mode == "blocking":
            return self._execution.rests(now_ns) and newest_ns >= self._session.covered_until_ns
        return newest_ns >= self._due_ns

    def _explain(self, missing: Missing) -> str:
        note = self.notes.get(missing.stream)
        return f"{missing.reason} ({note})" if note else missing.reason

    def _missing_history(self, now_ns: int) -> Missing | None:
        """A session begins once its second call, too, will find its images; else it would soon halt."""
        reach_ns = -self._embodiment.image_offsets_steps[0] * self._step_ns
        if self._session.fresh and self._images > 1 and self.pacing.interval_ns < reach_ns:
            return self._buffer.missing(self._images, now_ns)
        return None

    def _note_capture(self, stamp_ns: int) -> None:
        if not self._session.fresh:
            steps = round((stamp_ns - self._session.captured_ns) / self._step_ns)
            self.counters.capture_steps = steps
            self.counters.overlap_steps = max(0, -self._embodiment.image_offsets_steps[0] - steps)
        self._session.captured_ns = stamp_ns
        self._session.fresh = self._session.foreseen = False

    def _to_execute(self, chunk: ActionChunk, now_ns: int) -> ActionChunk:
        """In blocking mode the arm rested since the capture: the targets count from the splice on."""
        if self._settings.mode == "asynchronous":
            return chunk
        lead_s = max(self._settings.motion.lead_s, chunk.dt_s)
        return dataclasses.replace(
            chunk,
            stamp_ns=now_ns + round(lead_s * NS_PER_S),
            targets=chunk.targets[: self._embodiment.execute_steps],
        )

    def _measured(self) -> tuple[int, NDArray[np.float64]]:
        """The newest time that all joints have come up to [ns], and (J,) positions of the command joints."""
        newest = self._buffer.newest_positions()
        assert newest is not None, "a chunk answers a frame, and a frame has joint states"
        return newest[0], command_positions(self._embodiment, newest[1])

    def _newest(self) -> NDArray[np.float64]:
        """(J,) the newest position of every command joint, from which a motion begins."""
        newest = self._buffer.newest_of_each()
        assert newest is not None, "a chunk answers a frame, and a frame has joint states"
        return command_positions(self._embodiment, newest)

    @property
    def _due_ns(self) -> int:
        """The first image set from then on is looked at next, unless blocking [ns]."""
        return self._session.captured_ns + self.pacing.interval_ns - round(EARLY_STEPS * self._step_ns)

    @property
    def _step_ns(self) -> int:
        return round(self._embodiment.dt_s * NS_PER_S)


def _checked(instruction: str) -> str:
    if not instruction.strip():
        raise ValueError("the instruction is empty: say in words what the robot is to do")
    return instruction
