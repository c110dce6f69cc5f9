# SPDX-License-Identifier: Apache-2.0
"""Ten chunks of the real policy on what the robot sees, which nobody executes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from dreamzero_ros.embodiment.frame import Frame
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.observation.buffer import Missing, ObservationBuffer
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.pacing import Pacing
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.rows import Row, failed, failed_with, passed, skipped, warned
from dreamzero_ros.ros.check.samples import NS_PER_S

CHUNKS = 10
PATIENCE_S = 5.0
"""Longest wait for an observation [s]."""
INSTRUCTION = "put the cup on the plate"


def check_policy(
    parameters: PolicyParameters, robot: Embodiment, buffer: ObservationBuffer, now_ns: Callable[[], int]
) -> list[Row]:
    """Loads the policy as the policy node does, and measures from capture to answer.

    Args:
        parameters: Of the policy node.
        robot: The robot file.
        buffer: Fed with what the robot sees.
        now_ns: Time now on the ROS clock [ns].
    """
    begin = time.monotonic()
    try:
        policy, _ = make_policy(parameters, robot, now_ns)
    except (ValueError, OSError, RuntimeError, CheckpointError) as error:
        return [failed_with("policy", error, "see the rows of files and device")]
    loaded = passed("policy", f"{policy.name}: loaded and warmed up in {time.monotonic() - begin:.0f} s")
    try:
        latencies_s = _dry_chunks(policy, robot, buffer, now_ns)
    except ValueError as error:
        return [loaded, failed_with("chunk", error, "report it with the robot file")]
    finally:
        policy.close()
    if isinstance(latencies_s, Missing):
        return [loaded, skipped("chunk", latencies_s.reason, "see the rows of this stream")]
    return [loaded, judge(parameters, robot, latencies_s)]


def judge(parameters: PolicyParameters, robot: Embodiment, latencies_s: list[float]) -> Row:
    """Compares latencies from capture to answer [s] with the time that a chunk covers."""
    what = "chunk"
    step_s = robot.dt_s / parameters.speed_scale
    chunk_s = robot.horizon * step_s
    pacing = Pacing(robot.horizon, robot.execute_steps)
    pacing.adjust(step_s, parameters.latency_quantile, parameters.margin_steps)
    for latency_s in latencies_s:
        pacing.record(latency_s)
    median_s, p90_s, worst_s = np.quantile(latencies_s, (0.5, 0.9, 1.0))
    finding = (
        f"{len(latencies_s)} dry chunks, capture to answer: median {_ms(median_s)}, p90 {_ms(p90_s)}, "
        f"worst {_ms(worst_s)}; a chunk lasts {_ms(chunk_s)}"
    )
    if parameters.mode == "blocking":
        return passed(what, f"{finding}; blocking: the arm rests so long between chunks")
    room_s = chunk_s - pacing.steps * step_s
    finding += f"; an image set every {pacing.steps} steps leaves {_ms(room_s)}"
    fix = "speedups:=full, fewer dit_steps, guidance_scale:=1.0, a faster GPU, a lower speed_scale, or "
    fix += "mode:=blocking"
    if pacing.bound_s + parameters.margin_steps * step_s > room_s:
        return failed(what, f"{finding}: too little for {_ms(pacing.bound_s)} and a margin", fix)
    if worst_s > room_s:
        return warned(what, f"{finding}: the slowest would have been late", fix)
    return passed(what, f"{finding}, {_ms(room_s - worst_s)} more than the worst")


def _dry_chunks(
    policy: Policy, robot: Embodiment, buffer: ObservationBuffer, now_ns: Callable[[], int]
) -> list[float] | Missing:
    """Latencies from capture to answer [s], or what was missing."""
    latencies_s: list[float] = []
    newest_ns = -1
    policy.reset()
    while len(latencies_s) < CHUNKS:
        images = len(robot.image_offsets_steps) if latencies_s and policy.uses_history else 1
        frame = _next_frame(buffer, images, newest_ns, now_ns)
        if isinstance(frame, Missing):
            return frame
        policy.infer(frame)
        newest_ns = frame.stamp_ns
        latencies_s.append((now_ns() - frame.stamp_ns) / NS_PER_S)
    return latencies_s


def _next_frame(
    buffer: ObservationBuffer, images: int, after_ns: int, now_ns: Callable[[], int]
) -> Frame | Missing:
    """The first frame captured later than the last one."""
    limit = time.monotonic() + PATIENCE_S
    while True:
        frame = buffer.frame(images, INSTRUCTION, now_ns())
        if isinstance(frame, Frame) and frame.stamp_ns > after_ns:
            return frame
        if time.monotonic() > limit:
            return frame if isinstance(frame, Missing) else Missing("cameras", "no new images")
        time.sleep(0.005)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
