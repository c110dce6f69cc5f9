# SPDX-License-Identifier: Apache-2.0
"""One run of a policy: when it is asked, what the arm is told, and why the arm is not moving.

No threads, no clock, no messages: the caller passes the time, runs the policy where it likes and sends the
trajectories that come back. Live nodes and offline evaluation drive the same object.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.plan import Plan, plan, stop
from dreamzero_ros.motion.plan import Settings as MotionSettings
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.buffer import Missing, ObservationBuffer
from dreamzero_ros.policy.pacing import Pacing
from dreamzero_ros.policy.tracking import TrackingMonitor

NS_PER_S = 1_000_000_000

MOVED = 0.05
"""Distance of a joint of a resting arm from where it was left that means it was moved [rad or m]."""

Mode = Literal["asynchronous", "blocking"]


class State(Enum):
    """What the arm is doing."""

    IDLE = "no run"
    WAITING = "waiting for the first chunk"
    FOLLOWING = "following"
    HOLDING = "holding"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True)
class RolloutSettings:
    """How a run is paced and watched."""

    mode: Mode = "asynchronous"
    """``asynchronous`` asks for the next chunk while the current one is executed; ``blocking`` executes
    `execute_steps` targets, comes to rest, looks and waits, as the reference client does."""
    latency_quantile: float = 0.9
    """Share of the measured latencies that pacing covers."""
    margin_steps: int = 2
    """Control steps that pacing keeps free beyond it."""
    tracking_tolerance: float | NDArray[np.float64] = np.inf
    """Distance from its command at which a joint stops the arm, a number or (J,) [rad or m]."""
    tracking_time_s: float = 0.25
    """How long a joint must be that far away [s]."""
    dry_run: bool = False
    """Nobody executes the trajectories: every one begins at the measured joints."""
    motion: MotionSettings = MotionSettings()
    """How a chunk becomes a trajectory."""


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
class Counters:
    """What happened in this run so far."""

    chunks: int = 0
    deadline_misses: int = 0
    limit_hits: int = 0
    targets_used: int = 0
    """Of the last chunk."""
    targets_dropped: int = 0
    """Of the last chunk."""
    largest_step: float = 0.0
    """Of the last trajectory [rad or m]."""
    observation_age_s: float = float("nan")
    """Age of the newest image set when the last chunk became a command [s]."""
    capture_steps: int = 0
    """Control steps between the last two captures."""
    overlap_steps: int = 0
    """Control steps by which the image windows of the last two calls overlap."""


@dataclass
class _Session:
    """The policy's memory as the rollout knows it."""

    fresh: bool = True
    """The next call begins a session."""
    captured_ns: int = 0
    """Capture time of the last call [ns]."""
    covered_until_ns: int = 0
    """When the last target that was sent is due [ns]; 0 before the first chunk, which cannot be late."""


class Rollout:
    """The state of one run; see the module.

    Args:
        embodiment: The robot.
        buffer: Filled by the caller with images and joint states.
        uses_history: As `Policy.uses_history`.
        limits: Of the command joints, in their order.
        settings: See there.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        buffer: ObservationBuffer,
        uses_history: bool,
        limits: Limits,
        settings: RolloutSettings = RolloutSettings(),
    ) -> None:
        self.state = State.IDLE
        self.reason = "no run: send a goal to the run action"
        self.instruction = ""
        self.counters = Counters()
        self.notes: dict[str, str] = {}
        self.pacing = Pacing(
            embodiment.dt_s,
            embodiment.horizon,
            embodiment.execute_steps,
            settings.latency_quantile,
            settings.margin_steps,
        )
        # notes: what is wrong with the messages of a stream, in words, by stream name; the caller's to fill
        self._embodiment = embodiment
        self._buffer = buffer
        self._images = len(embodiment.image_offsets_steps) if uses_history else 1
        self._limits = limits
        self._settings = settings
        tolerance = np.broadcast_to(settings.tracking_tolerance, len(embodiment.command_joints))
        self._tracking = TrackingMonitor(np.asarray(tolerance, np.float64), settings.tracking_time_s)
        self._locks: dict[str, str] = {}
        self._executing: Trajectory | None = None
        self._session = _Session()
        self._serial = 0
        self._pending: int | None = None

    # What the operator does

    def start(self, instruction: str) -> None:
        """Begins a run; nothing moves before the first chunk.

        Raises:
            ValueError: The instruction is empty, a run is active, or the arm is locked.
        """
        if self.state is not State.IDLE:
            raise ValueError("a run is active: cancel it first")
        self._require_unlocked()
        self.instruction = _checked(instruction)
        self.counters = Counters()
        self._begin_session(State.WAITING, "waiting for the first chunk")

    def end(self, now_ns: int, reason: str) -> Trajectory | None:
        """Ends the run; returns the soft stop to send, None when the arm rests."""
        stopping = self._stop(now_ns)
        self._begin_session(State.IDLE, reason)
        return stopping

    def change_instruction(self, instruction: str) -> None:
        """Goes on with another instruction in a new session; the current chunk is executed meanwhile.

        Raises:
            ValueError: The instruction is empty, or there is no run.
        """
        if self.state is State.IDLE:
            raise ValueError("no run is active: send a goal to the run action")
        self.instruction = _checked(instruction)
        self.restart()

    def restart(self) -> None:
        """Makes the next call begin a new session; an answer under way is dropped. The way out of STOPPED.

        Raises:
            ValueError: The arm is locked.
        """
        self._require_unlocked()
        self._session.fresh = True
        self._pending = None
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

    def trip(self, reason: str, now_ns: int) -> Trajectory | None:
        """Stops softly and stays stopped until `restart`; returns the stop to send. Without a run nothing."""
        if self.state is State.IDLE:
            return None
        stopping = self._stop(now_ns)
        self._begin_session(State.STOPPED, f"{reason}; call the reset service to go on")
        return stopping

    def pause(self, now_ns: int) -> Trajectory | None:
        """Stops softly and holds until `resume`; returns the stop to send.

        Raises:
            ValueError: There is no run.
        """
        if self.state in (State.IDLE, State.STOPPED):
            raise ValueError(f"nothing to pause: {self.reason}")
        stopping = self._stop(now_ns)
        self._begin_session(State.PAUSED, "paused by the operator")
        return stopping

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
        """Looks after the running motion; returns a soft stop where one is due.

        To be called often. Stale observations stop the arm; a chunk that runs out does so by itself, since
        every trajectory ends at rest.
        """
        if self.state not in (State.WAITING, State.FOLLOWING, State.HOLDING):
            return None
        missing = self._buffer.missing(1, now_ns)
        if missing is not None:
            return self._hold(missing, now_ns)
        away = self._away()
        if away:
            return self.trip(away, now_ns)
        if self.state is State.FOLLOWING and now_ns > self._session.covered_until_ns:
            self.state = State.HOLDING
            if self._settings.mode == "blocking":
                self.reason = "executed; waiting for the next chunk"
            else:
                self.reason = "the next chunk is late: the arm came to rest at the end of the last one"
        return None

    def request(self, now_ns: int) -> Request | None:
        """The call of the policy that is due now, or None; why not is in `reason` unless the arm follows."""
        if self.state not in (State.WAITING, State.FOLLOWING, State.HOLDING) or self._pending is not None:
            return None
        if not self._capture_due(now_ns):
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

    def accept(self, serial: int, chunk: ActionChunk, now_ns: int) -> Command | None:
        """Takes an answer of the policy; returns the command, None when the answer is no longer wanted.

        Raises:
            MotionError: The chunk must not be executed; to be handed to `refuse`.
        """
        if serial != self._pending:
            return None
        latency_s = (now_ns - chunk.stamp_ns) / NS_PER_S
        chunk = self._to_execute(chunk, now_ns)
        measured = self._measured()
        origin = self._origin(measured, now_ns)
        made = plan(chunk, origin, measured, now_ns, self._limits, self._settings.motion)
        self._pending = None
        self._executing = made.trajectory
        self.pacing.record(latency_s)
        self._count(made, latency_s, now_ns)
        self._session.covered_until_ns = chunk.stamp_ns + len(chunk.targets) * self._step_ns
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
        stopping = self._stop(now_ns)
        self._begin_session(State.HOLDING, str(error))
        return stopping

    # How it is done

    def _begin_session(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        self._session = _Session()
        self._pending = None

    def _require_unlocked(self) -> None:
        if self._locks:
            raise ValueError("; ".join(self._locks.values()))

    def _away(self) -> str:
        """Which joint is not where it was told to be, in words; empty when all are, or none was told."""
        newest = self._buffer.newest_positions()
        following = self.state is State.FOLLOWING and not self._settings.dry_run
        if not following or self._executing is None or newest is None:
            self._tracking.clear()
            return ""
        return self._tracking.away(self._executing, newest[0], command_positions(self._embodiment, newest[1]))

    def _capture_due(self, now_ns: int) -> bool:
        """Whether the newest image set is the one to look at next."""
        newest_ns = self._buffer.newest_set_ns()
        if newest_ns is None or self._session.fresh:
            return True
        if self._settings.mode == "blocking":
            return self._rests(now_ns) and newest_ns >= self._session.covered_until_ns
        wanted_ns = self._session.captured_ns + self.pacing.steps * self._step_ns
        return newest_ns >= wanted_ns - self._step_ns // 2

    def _explain(self, missing: Missing) -> str:
        note = self.notes.get(missing.stream)
        return f"{missing.reason} ({note})" if note else missing.reason

    def _missing_history(self, now_ns: int) -> Missing | None:
        """A session begins once its second call, too, will find its images; else it would soon halt."""
        reaches_back = self.pacing.steps < -self._embodiment.image_offsets_steps[0]
        if self._session.fresh and self._images > 1 and reaches_back:
            return self._buffer.missing(self._images, now_ns)
        return None

    def _note_capture(self, stamp_ns: int) -> None:
        if not self._session.fresh:
            steps = round((stamp_ns - self._session.captured_ns) / self._step_ns)
            self.counters.capture_steps = steps
            self.counters.overlap_steps = max(0, -self._embodiment.image_offsets_steps[0] - steps)
        self._session.captured_ns = stamp_ns
        self._session.fresh = False

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

    def _count(self, made: Plan, latency_s: float, now_ns: int) -> None:
        counters = self.counters
        late = 0 < self._session.covered_until_ns < now_ns
        if late and self._settings.mode == "asynchronous":
            counters.deadline_misses += 1
        counters.chunks += 1
        counters.limit_hits += len(made.limit_hits)
        counters.targets_used, counters.targets_dropped = made.used, made.dropped
        counters.largest_step = made.largest_step
        counters.observation_age_s = latency_s

    def _rests(self, now_ns: int) -> bool:
        return self._executing is None or now_ns > self._executing.end_ns

    def _origin(self, measured: NDArray[np.float64], now_ns: int) -> Trajectory | None:
        """What the next trajectory goes on from; None: from the measured joints.

        A resting arm is where its last trajectory ended, up to the error of its controller: going on from
        there keeps the setpoint continuous. Further away, something else has moved it.
        """
        if self._settings.dry_run:
            return None
        if self._executing is not None and self._rests(now_ns):
            end, _ = self._executing.sample(now_ns)
            if np.abs(end - measured).max() > MOVED:
                self._executing = None
        return self._executing

    def _stop(self, now_ns: int) -> Trajectory | None:
        if self._executing is None or self._rests(now_ns):
            return None
        self._executing = stop(self._executing, now_ns, self._limits, self._settings.motion)
        return self._executing

    def _hold(self, missing: Missing, now_ns: int) -> Trajectory | None:
        """Observations stopped: so does the arm; the next call begins a new session."""
        reason = self._explain(missing)
        if self.state is not State.FOLLOWING:
            self.reason = reason
            return None
        stopping = self._stop(now_ns)
        self._begin_session(State.HOLDING, reason)
        return stopping

    def _measured(self) -> NDArray[np.float64]:
        newest = self._buffer.newest_positions()
        assert newest is not None, "a chunk answers a frame, and a frame has joint states"
        return command_positions(self._embodiment, newest[1])

    @property
    def _step_ns(self) -> int:
        return round(self._embodiment.dt_s * NS_PER_S)


def _checked(instruction: str) -> str:
    if not instruction.strip():
        raise ValueError("the instruction is empty: say in words what the robot is to do")
    return instruction
