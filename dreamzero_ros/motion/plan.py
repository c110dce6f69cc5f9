# SPDX-License-Identifier: Apache-2.0
"""Chunk -> the trajectory to publish: continuous with what is executed, within limits, always ending at rest.

Released controllers forget the old trajectory as soon as a new one arrives. Every trajectory made here
therefore begins now, repeats what is being executed up to the splice a little later, goes on from there with
equal position and velocity, and ends with a stop, so that silence of the sender means a soft stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.limits import LimitHit, Limits, position_hits, rate_hits
from dreamzero_ros.motion.splice import blended, through_targets
from dreamzero_ros.motion.timeline import count_due, due_times_ns
from dreamzero_ros.motion.tracker import Tracker
from dreamzero_ros.motion.trajectory import HOLD_S, NS_PER_S, Floats, Trajectory, hold, seconds_to_ns


class Chunk(Protocol):
    """What this folder reads of an action chunk."""

    @property
    def stamp_ns(self) -> int:
        """Capture time of the frame it answers [ns, ROS clock]."""

    @property
    def dt_s(self) -> float:
        """Control step; target i is due at stamp + (i + 1) dt [s]."""

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the J columns."""

    @property
    def targets(self) -> Floats:
        """(A, J) absolute joint positions [rad or m]."""


@dataclass(frozen=True)
class Settings:
    """How a chunk becomes a trajectory; the defaults suit arms at 15 to 30 Hz.

    Raises:
        MotionError: for a setting out of its range.
    """

    lead_s: float = 0.05
    """Least time from now to the splice, for the message to travel [s]; in `plan` at least a control step."""
    grid_s: float = 0.02
    """Distance of the published points after the splice [s]."""
    blend_s: float = 0.2
    """Time over which the executed motion fades into the chunk [s]."""
    soft_share: float = 0.5
    """Share of the acceleration limit for catching up with the chunk and for stopping, in (0, 1]."""
    start_tolerance: float | Floats = 0.5
    """Largest distance of the first used target from the measured joints, a number or (J,) [rad or m];
    infinite where a joint may jump, such as a gripper."""

    smooth: bool = True
    """Whether the targets are smoothed."""
    grippers: NDArray[np.bool_] | None = None
    """(J,) joints that open and close: not smoothed but debounced; None: no joint."""
    debounce_steps: int = 2
    """A gripper that would change and change back within so many control steps stays."""
    speed_scale: float = 1.0
    """Speed at which the chunk is executed, in (0, 1]; 1 is that of the policy."""
    on_position: Literal["clamp", "refuse"] = "clamp"
    """What becomes of a chunk that leaves the position limits."""
    on_velocity: Literal["clamp", "slow_down", "refuse"] = "clamp"
    """What becomes of a chunk that is too fast."""
    on_acceleration: Literal["clamp", "slow_down", "refuse"] = "clamp"
    """What becomes of a chunk that is too sudden."""

    def __post_init__(self) -> None:
        for name in ("lead_s", "grid_s", "blend_s", "soft_share"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise MotionError(f"motion settings: {name} must be positive, got {value}")
        if self.soft_share > 1:
            raise MotionError(f"motion settings: soft_share must not exceed 1, got {self.soft_share}")


@dataclass(frozen=True, eq=False)
class Plan:
    """What to publish for one chunk, and what became of the chunk."""

    trajectory: Trajectory
    """Begins now, ends at rest."""
    splice_ns: int
    """Time up to which the executed motion is repeated [ns, ROS clock]."""
    used: int
    """Targets that the trajectory follows."""
    covered_until_ns: int
    """When the last target is due [ns, ROS clock]."""
    time_scale: float
    """By how much the rest of the chunk was slowed down; 1: not at all."""
    dropped: int
    """Leading targets that are due before the splice; used + dropped = horizon."""
    limit_hits: tuple[LimitHit, ...]
    """Limits that the wanted motion exceeded."""
    largest_step: float
    """Largest change of any joint over one control step of the trajectory [rad or m]."""
    largest_deviation: float
    """Largest distance of any joint from a used target when due: what limits and blending did [rad or m]."""


def plan(
    chunk: Chunk,
    executing: Trajectory | None,
    measured: Floats,
    now_ns: int,
    limits: Limits,
    settings: Settings = Settings(),
) -> Plan:
    """Turns a chunk into the trajectory to publish now.

    Args:
        chunk: the targets.
        executing: the trajectory published last; None for a robot at rest at `measured`.
        measured: (J,) joint positions now, in the order of `chunk.joints` [rad or m].
        now_ns: time now [ns, ROS clock].
        limits: of the joints in the same order. A state outside them at the splice is left with the largest
            allowed acceleration, never by a jump.
        settings: see there.

    Raises:
        MotionError: when the chunk must not be executed: targets that are not finite, joints that do not
            match, a stamp later than the splice, or a first target too far from the measured joints.
    """
    _check(chunk, executing, measured, limits)
    splice_ns = _splice_ns(executing, now_ns + seconds_to_ns(max(settings.lead_s, chunk.dt_s)), settings)
    if chunk.stamp_ns > splice_ns:
        raise MotionError(
            f"chunk: its stamp lies {(chunk.stamp_ns - now_ns) / NS_PER_S:.3f} s in the future; "
            "the clocks of camera and policy disagree"
        )
    dt_s = chunk.dt_s / settings.speed_scale
    due_ns = due_times_ns(chunk.stamp_ns, dt_s, len(chunk.targets))
    dropped = count_due(due_ns, splice_ns)
    kept = chunk.targets[dropped:]
    front = _front(chunk.joints, executing, measured, now_ns, splice_ns)
    tracker = Tracker(limits, settings.grid_s, settings.soft_share)

    moving, hits = front, []
    if len(kept):
        _check_start(kept[0], chunk.joints, measured, settings)
        grid_ns = seconds_to_ns(settings.grid_s)
        steps = -((splice_ns - int(due_ns[-1])) // grid_ns)
        times_ns = splice_ns + np.arange(steps + 1) * grid_ns
        q, v = front.positions[-1], front.velocities[-1]
        curve = through_targets(
            chunk.stamp_ns, dt_s, chunk.joints, np.clip(chunk.targets, limits.lower, limits.upper)
        )
        blend_s = min(settings.blend_s, max(steps, 1) * settings.grid_s)
        wanted_q, wanted_v = blended(curve, q, v, times_ns, blend_s)
        moving = front.extended(
            (times_ns[1:] - splice_ns) / NS_PER_S, *tracker.follow(q, v, wanted_q[1:], wanted_v[1:])
        )
        hits = position_hits(chunk.joints, kept, limits) + rate_hits(
            chunk.joints, wanted_v, settings.grid_s, limits
        )

    trajectory = _stopped(moving, tracker)
    control_steps_ns = np.arange(now_ns, trajectory.end_ns + 1, seconds_to_ns(chunk.dt_s))
    at_steps, at_due = trajectory.sample(control_steps_ns)[0], trajectory.sample(due_ns[dropped:])[0]
    return Plan(
        trajectory=trajectory,
        splice_ns=splice_ns,
        used=len(kept),
        dropped=dropped,
        covered_until_ns=int(due_ns[-1]),
        time_scale=1.0,
        limit_hits=tuple(hits),
        largest_step=float(np.abs(np.diff(at_steps, axis=0)).max(initial=0.0)),
        largest_deviation=float(np.abs(at_due - kept).max(initial=0.0)),
    )


def stop(executing: Trajectory, now_ns: int, limits: Limits, settings: Settings = Settings()) -> Trajectory:
    """The trajectory to publish for a soft stop: what is executed for `lead_s` more, then to rest.

    It ends with `HOLD_S` at rest, so executing it is holding, and a robot that rests already goes on resting.
    """
    splice_ns = _splice_ns(executing, now_ns + seconds_to_ns(settings.lead_s), settings)
    front = executing.window(now_ns, splice_ns)
    stopped = _stopped(front, Tracker(limits, settings.grid_s, settings.soft_share))
    return stopped.extended(
        np.array([HOLD_S]), stopped.positions[-1:], np.zeros_like(stopped.velocities[-1:])
    )


def _check(chunk: Chunk, executing: Trajectory | None, measured: Floats, limits: Limits) -> None:
    J = len(chunk.joints)
    if chunk.targets.ndim != 2 or chunk.targets.shape[1] != J or not len(chunk.targets):
        raise MotionError(
            f"chunk: expected targets of shape (horizon, {J} joints), got {chunk.targets.shape}"
        )
    if measured.shape != (J,) or limits.lower.shape != (J,):
        raise MotionError(
            f"chunk: {J} joints, but measured positions of shape {measured.shape} "
            f"and limits of shape {limits.lower.shape}"
        )
    if executing is not None and executing.joints != chunk.joints:
        raise MotionError(f"chunk: joints {chunk.joints}, but {executing.joints} are being executed")
    bad = np.argwhere(~np.isfinite(chunk.targets))
    if len(bad):
        i, j = bad[0]
        raise MotionError(
            f"chunk: target {i} of {chunk.joints[j]} is {chunk.targets[i, j]}, "
            f"{len(bad)} of {chunk.targets.size} values are not finite"
        )
    if not np.isfinite(measured).all():
        j = int(np.argmin(np.isfinite(measured)))
        raise MotionError(f"measured joints: {chunk.joints[j]} is {measured[j]}")


def _check_start(first: Floats, joints: tuple[str, ...], measured: Floats, settings: Settings) -> None:
    tolerance = np.broadcast_to(np.asarray(settings.start_tolerance, dtype=np.float64), measured.shape)
    distance = np.abs(first - measured)
    if (distance > tolerance).any():
        j = int(np.argmax(distance - tolerance))
        raise MotionError(
            f"chunk: first target of {joints[j]} is {first[j]:.3f}, measured {measured[j]:.3f}: "
            f"{distance[j]:.3f} apart, {tolerance[j]:.3f} allowed"
        )


def _splice_ns(executing: Trajectory | None, earliest_ns: int, settings: Settings) -> int:
    """The next point of what is executed, where there is one within a grid step.

    From a point it can brake in whole grid steps before any limit; in between up to a h^2 / 8 is missing.
    """
    if executing is None:
        return earliest_ns
    points_ns = executing.points_ns
    following = points_ns[np.searchsorted(points_ns, earliest_ns) :][:1]
    near = following[following <= earliest_ns + seconds_to_ns(settings.grid_s)]
    return int(near[0]) if len(near) else earliest_ns


def _front(
    joints: tuple[str, ...], executing: Trajectory | None, measured: Floats, now_ns: int, splice_ns: int
) -> Trajectory:
    """What is executed between now and the splice."""
    if executing is None:
        return hold(joints, measured, now_ns, (splice_ns - now_ns) / NS_PER_S)
    return executing.window(now_ns, splice_ns)


def _stopped(moving: Trajectory, tracker: Tracker) -> Trajectory:
    """The trajectory, and from its last point to rest."""
    q, v = tracker.brake(moving.positions[-1], moving.velocities[-1])
    times_s: Floats = np.arange(1.0, len(q) + 1.0) * tracker.step_s
    return moving.extended(times_s, q, v)
