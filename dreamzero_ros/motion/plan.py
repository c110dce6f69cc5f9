# SPDX-License-Identifier: Apache-2.0
"""Chunk -> the trajectory to publish: continuous with what is executed, within limits, always ending at rest.

Released controllers forget the old trajectory as soon as a new one arrives. Every trajectory made here
therefore begins now, repeats what is being executed up to the splice a little later, goes on from there with
equal position and velocity, and ends with a stop, so that silence of the sender means a soft stop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamzero_ros.motion.chunk import Chunk, check, check_start
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.gripper import debounced
from dreamzero_ros.motion.limits import LimitHit, Limits, position_hits, rate_hits, taper_hits
from dreamzero_ros.motion.pace import time_scale
from dreamzero_ros.motion.settings import Settings
from dreamzero_ros.motion.smooth import smoothed
from dreamzero_ros.motion.splice import blended, through_targets
from dreamzero_ros.motion.timeline import count_due, due_times_ns, stretched
from dreamzero_ros.motion.tracker import Tracker
from dreamzero_ros.motion.trajectory import HOLD_S, NS_PER_S, Floats, Trajectory, hold, seconds_to_ns

__all__ = ["Chunk", "Plan", "Settings", "plan", "stop"]


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
    """When the last target is due, at the speed at which the chunk is executed [ns, ROS clock]."""
    time_scale: float
    """By how much the chunk was slowed down from the splice on to keep within limits; 1: not at all."""
    dropped: int
    """Leading targets that are due before the splice; used + dropped = horizon."""
    limit_hits: tuple[LimitHit, ...]
    """Limits that the chunk exceeds from the splice on, at the speed that was asked for."""
    largest_step: float
    """Largest change of any joint over one control step of the trajectory [rad or m]."""
    largest_deviation: float
    """Largest distance of any joint from a used target when due: what smoothing, limits and blending did
    [rad or m]."""


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
            match, a stamp later than the splice, a first target too far from the measured joints, or limits
            exceeded of which the settings say so.
    """
    check(chunk, executing, measured, limits, settings)
    splice_ns = _splice_ns(executing, now_ns + seconds_to_ns(max(settings.lead_s, chunk.dt_s)), settings)
    if chunk.stamp_ns > splice_ns:
        raise MotionError(
            f"chunk: its stamp lies {(chunk.stamp_ns - now_ns) / NS_PER_S:.3f} s in the future; "
            "the clocks of camera and policy disagree"
        )
    stamp_ns, dt_s = chunk.stamp_ns, chunk.dt_s / settings.speed_scale
    due_ns = due_times_ns(stamp_ns, dt_s, len(chunk.targets))
    dropped = count_due(due_ns, splice_ns)
    kept = chunk.targets[dropped:]
    front = _front(chunk.joints, executing, measured, now_ns, splice_ns)
    tracker = Tracker(limits, settings.grid_s, settings.soft_share)

    moving, hits, scale = front, [], 1.0
    if len(kept):
        check_start(kept[0], chunk.joints, measured, settings.start_tolerance)
        wanted = _wanted(chunk.targets, dropped, front.positions[-1], limits, settings)
        curve = through_targets(stamp_ns, dt_s, chunk.joints, wanted)
        rest = curve.points_from(dropped)
        hits = position_hits(chunk.joints, kept, limits) + rate_hits(rest, limits) + taper_hits(rest, limits)
        scale = time_scale(chunk.joints, hits, limits, settings)
        if scale > 1.0:
            stamp_ns, dt_s = stretched(stamp_ns, dt_s, scale, splice_ns)
            due_ns = due_times_ns(stamp_ns, dt_s, len(chunk.targets))
            curve = through_targets(stamp_ns, dt_s, chunk.joints, wanted)
        moving = _moving(front, curve, tracker, settings)

    trajectory = _stopped(moving, tracker)
    control_steps_ns = np.arange(now_ns, trajectory.end_ns + 1, seconds_to_ns(chunk.dt_s))
    at_steps, at_due = trajectory.sample(control_steps_ns)[0], trajectory.sample(due_ns[dropped:])[0]
    return Plan(
        trajectory=trajectory,
        splice_ns=splice_ns,
        used=len(kept),
        dropped=dropped,
        covered_until_ns=int(due_ns[-1]),
        time_scale=scale,
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


def _wanted(targets: Floats, dropped: int, commanded: Floats, limits: Limits, settings: Settings) -> Floats:
    """Targets (A, J) within position limits: arms smoothed as one chunk, grippers debounced from the splice.

    Args:
        targets: (A, J) as the policy gave them.
        dropped: number of leading targets that the splice comes too late for.
        commanded: (J,) positions commanded at the splice.
        limits: of the joints.
        settings: what to do.
    """
    inside = np.clip(targets, limits.lower, limits.upper)
    wanted = np.clip(smoothed(inside), limits.lower, limits.upper) if settings.smooth else inside.copy()
    grippers = settings.grippers
    if grippers is not None and grippers.any():
        held = commanded[grippers]
        wanted[:dropped, grippers] = held
        wanted[dropped:, grippers] = debounced(inside[dropped:, grippers], held, settings.debounce_steps)
    return wanted


def _moving(front: Trajectory, curve: Trajectory, tracker: Tracker, settings: Settings) -> Trajectory:
    """The executed motion up to the splice, and on along the curve to its end."""
    splice_ns, q, v = front.end_ns, front.positions[-1], front.velocities[-1]
    grid_ns = seconds_to_ns(settings.grid_s)
    steps = -((splice_ns - curve.end_ns) // grid_ns)
    times_ns = splice_ns + np.arange(steps + 1) * grid_ns
    blend_s = min(settings.blend_s, max(steps, 1) * settings.grid_s)
    wanted_q, wanted_v = blended(curve, q, v, times_ns, blend_s)
    followed = tracker.follow(q, v, wanted_q[1:], wanted_v[1:])
    return front.extended((times_ns[1:] - splice_ns) / NS_PER_S, *followed)


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
