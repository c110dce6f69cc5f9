# SPDX-License-Identifier: Apache-2.0
"""Small episodes of a policy whose answers are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from dreamzero_ros.evaluation.episode import Calls, Episode, Floats

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
DT_S = 1 / 15
JOINTS = ("joint1", "joint2", "gripper")
UNITS = ("rad", "rad", "ratio")
CAMERAS = ("left", "wrist")
STAGES = ("wait", "model", "plan")

Motion = Callable[[Floats], Floats]
"""Seconds after the begin of the episode (...) -> positions (..., J)."""


def waves(t_s: Floats) -> Floats:
    """Two joints that swing, and a gripper that closes and opens every 2 s."""
    arm = 0.5 * np.sin(2 * np.pi * 0.25 * t_s[..., None] + np.arange(len(JOINTS) - 1))
    gripper = np.floor((t_s + DT_S / 2) / 2) % 2
    return np.concatenate([arm, gripper[..., None]], axis=-1)


def make_episode(
    recorded: Motion = waves,
    predicted: Motion | None = None,
    calls: int = 6,
    steps: int = 8,
    horizon: int = 24,
    dropped: int = 3,
    seed: int = 0,
    **other: Any,
) -> Episode:
    """An episode in which the arm is measured exactly where it was commanded to be.

    Args:
        recorded: What was commanded and measured.
        predicted: What the policy answers; None: the same.
        calls: Calls of the policy; the first captures `horizon` steps after the begin.
        steps: Control steps from capture to capture.
        horizon: Targets of a chunk.
        dropped: Leading targets that were due before the chunk came.
        seed: Of ages, times, jerks and dreamed images.
        other: Fields of `Episode` or `Calls` to be put in place of those made here.
    """
    rng = np.random.default_rng(seed)
    captured_s = DT_S * (horizon + steps * np.arange(calls))
    due_s = captured_s[:, None] + DT_S * np.arange(1, horizon + 1)
    before_s = due_s - DT_S * horizon
    measured_s = np.arange(0, captured_s[-1] + DT_S * (horizon + 1), DT_S)
    positions = recorded(captured_s)
    begin = recorded(captured_s - DT_S * horizon)
    targets = (predicted or recorded)(due_s)
    planned = targets.copy()
    planned[:, :dropped] = np.nan
    joints = targets.shape[-1]
    latency_ns = np.full(calls, round((dropped + 0.5) * DT_S * NS))
    captured_ns = _ns(captured_s)
    found = Calls(
        captured_ns=captured_ns,
        asked_ns=captured_ns + 10_000_000,
        answered_ns=captured_ns + latency_ns,
        new_session=np.arange(calls) == 0,
        positions=positions,
        targets=targets,
        planned=planned,
        recorded=recorded(due_s),
        repeated=positions[:, None] + recorded(before_s) - begin[:, None],
        used=np.full(calls, horizon - dropped),
        dropped=np.full(calls, dropped),
        late=np.arange(calls) == 2,
        limit_hits=rng.integers(0, 2, calls),
        time_scale=np.ones(calls),
        raw_jump=_after_first(rng.normal(0, 0.02, (calls, 2, joints))),
        spliced_jump=_after_first(rng.normal(0, 0.001, (calls, 2, joints))),
        raw_jerk=rng.uniform(20, 40, (calls, joints)),
        planned_jerk=rng.uniform(2, 4, (calls, joints)),
        observation_age_s=latency_ns / NS,
        image_age_s=rng.uniform(0.01, 0.04, (calls, len(CAMERAS))),
        stages_s=rng.uniform(0.01, 0.1, (calls, len(STAGES))),
        psnr=rng.uniform(20, 30, (calls, 4)),
        ssim=rng.uniform(0.5, 0.9, (calls, 4)),
    )
    episode = Episode(
        bag="bags/session1.mcap",
        number=0,
        start_ns=START_NS,
        end_ns=START_NS + round(measured_s[-1] * NS),
        instruction="put the cup on the shelf",
        embodiment="small_robot",
        policy="waves",
        settings={"seed": 7, "latency_s": 0.2},
        joints=JOINTS[:joints],
        grippers=JOINTS[2:joints],
        units=UNITS[:joints],
        lower=np.array([-1.0, -1.0, 0.0])[:joints],
        upper=np.array([1.0, 1.0, 1.0])[:joints],
        dt_s=DT_S,
        cameras=CAMERAS,
        stages=STAGES,
        reference="commands",
        urdf="",
        holds={},
        notices=(),
        measured_ns=_ns(measured_s),
        measured=recorded(measured_s),
        pictures_ns=_ns(measured_s[::5]),
        calls=found,
    )
    return replace(episode, **other)


def replace(episode: Episode, **other: Any) -> Episode:
    """The episode with other values of some fields, its own or those of its calls."""
    names = {field.name for field in dataclasses.fields(Calls)}
    calls = {name: value for name, value in other.items() if name in names}
    rest = {name: value for name, value in other.items() if name not in names}
    return dataclasses.replace(episode, calls=dataclasses.replace(episode.calls, **calls), **rest)


def _ns(times_s: Floats) -> Any:
    return START_NS + np.round(times_s * NS).astype(np.int64)


def _after_first(values: Floats) -> Floats:
    values[:1] = np.nan
    return values
