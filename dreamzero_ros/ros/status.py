# SPDX-License-Identifier: Apache-2.0
"""What the operator sees: the status message and the diagnostics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from dreamzero_ros.observation.buffer import JOINT_STATES, ObservationBuffer
from dreamzero_ros.policy.rollout import Rollout, State
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.messages import diagnostics_message, time_message

CODES = {
    State.IDLE: PolicyStatus.IDLE,
    State.APPROACHING: PolicyStatus.APPROACHING,
    State.WAITING: PolicyStatus.WAITING,
    State.FOLLOWING: PolicyStatus.FOLLOWING,
    State.HOLDING: PolicyStatus.HOLDING,
    State.PAUSED: PolicyStatus.PAUSED,
    State.STOPPED: PolicyStatus.STOPPED,
}
NAMES = {code: state.value for state, code in CODES.items()} | {PolicyStatus.INACTIVE: "inactive"}


@dataclass
class LastCall:
    """What the last answer of the policy reported."""

    latency_s: Mapping[str, float] = field(default_factory=dict)
    context_frames: int = 0
    computed_steps: int = 0


def status_message(
    rollout: Rollout, buffer: ObservationBuffer, last: LastCall, embodiment: str, policy: str, now_ns: int
) -> PolicyStatus:
    """The state of an active node."""
    counters = rollout.counters
    ages = {name: math.nan if age is None else age for name, age in buffer.ages_s(now_ns).items()}
    joint_age = ages.pop(JOINT_STATES)
    message = PolicyStatus(
        state=CODES[rollout.state],
        reason=rollout.reason,
        embodiment=embodiment,
        policy=policy,
        instruction=rollout.instruction if rollout.state is not State.IDLE else "",
        cameras=list(ages),
        image_age_s=list(ages.values()),
        joint_state_age_s=joint_age,
        observation_age_s=counters.observation_age_s,
        stages=list(last.latency_s),
        latency_s=list(last.latency_s.values()),
        latency_bound_s=rollout.pacing.bound_s,
        chunks=counters.chunks,
        deadline_misses=counters.deadline_misses,
        targets_used=counters.targets_used,
        targets_dropped=counters.targets_dropped,
        limit_hits=counters.limit_hits,
        speed_scale=rollout.speed_scale,
        time_scale=counters.time_scale,
        idle_s=rollout.idle_s,
        largest_step=counters.largest_step,
        capture_interval_steps=counters.capture_steps,
        overlap_steps=counters.overlap_steps,
        context_frames=last.context_frames,
        computed_steps=last.computed_steps,
    )
    message.header.stamp = time_message(now_ns)
    return message


def inactive_message(reason: str, embodiment: str, policy: str, now_ns: int) -> PolicyStatus:
    """The state of a node that is not active."""
    nan = math.nan
    message = PolicyStatus(
        state=PolicyStatus.INACTIVE,
        reason=reason,
        embodiment=embodiment,
        policy=policy,
        joint_state_age_s=nan,
        observation_age_s=nan,
    )
    message.header.stamp = time_message(now_ns)
    return message


def diagnostics(name: str, status: PolicyStatus, now_ns: int) -> DiagnosticArray:
    """The status as diagnostics: an error while the arm holds in a run, a warning after a late chunk."""
    if status.state in (PolicyStatus.HOLDING, PolicyStatus.STOPPED):
        level = DiagnosticStatus.ERROR
    elif status.deadline_misses:
        level = DiagnosticStatus.WARN
    else:
        level = DiagnosticStatus.OK
    ages = {
        f"age of {camera} [s]": f"{age:.3f}"
        for camera, age in zip(status.cameras, status.image_age_s, strict=True)
    }
    values = {
        "state": NAMES[status.state],
        "policy": status.policy,
        "instruction": status.instruction,
        "chunks": str(status.chunks),
        "deadline misses": str(status.deadline_misses),
        "limit hits": str(status.limit_hits),
        "latency bound [s]": f"{status.latency_bound_s:.3f}",
        "age of joint states [s]": f"{status.joint_state_age_s:.3f}",
    }
    text = status.reason or NAMES[status.state]
    return diagnostics_message(name, level, text, values | ages, now_ns)
