# SPDX-License-Identifier: Apache-2.0
"""The parameters of the policy node, and the policy that they name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dreamzero_ros.embodiment.layout import joint_actions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.weights import load_engine, random_engine
from dreamzero_ros.motion.plan import Settings as MotionSettings
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy
from dreamzero_ros.policy.rollout import RolloutSettings
from dreamzero_ros.policy.stand_ins import HoldPolicy, ReplayPolicy
from dreamzero_ros.ros.parameters import setting
from dreamzero_ros.ros.robot import RobotParameters

DYNAMIC = "dynamic"


@dataclass(frozen=True)
class PolicyParameters(RobotParameters):
    """Every parameter of the policy node; `config/policy_node.yaml` shows them with their defaults."""

    policy: str = setting(
        "dreamzero",
        "What answers: the world action model, or a stand-in that asks the arm to stay or replays chunks.",
        choices=("dreamzero", "hold", "replay"),
    )
    recording: str = setting("", "For replay: a run.json of the demo, whose chunks are given out in order.")
    dry_run: bool = setting(False, "Everything but commands: chunks are planned and shown, none is sent.")
    checkpoint: str = setting(
        "", "Weights in the reference release's layout: a folder, or a hub id such as owner/name."
    )
    base_checkpoint: str = setting(
        "", "For a checkpoint that holds adapters only: the weights that they were trained on, likewise."
    )
    random_weights: str = setting(
        "", "Instead of a checkpoint: variant with random weights (tiny, wan22_5b, wan21_14b), for trials."
    )
    device: str = setting("cuda", "Torch device of the model: cuda, cuda:1 or cpu.")
    dtype: str = setting(
        "bfloat16", "Number format of the model: bfloat16 on GPUs.", choices=("bfloat16", "float32")
    )
    dit_steps: str = setting(
        "8",
        "Denoising steps of 16 that run the transformer; dynamic decides by the similarity of its answers.",
        choices=("5", "6", "7", "8", "16", DYNAMIC),
    )
    guidance_scale: float = setting(
        5.0, "Weight of classifier-free guidance on the video; 1 halves the work.", lowest=1.0, highest=20.0
    )
    seed: int = setting(1140, "Seed of the initial noise of every chunk.", lowest=0, highest=2**31 - 1)
    mode: str = setting(
        "asynchronous",
        "asynchronous looks again while a chunk is executed; blocking executes, rests, looks, waits.",
        choices=("asynchronous", "blocking"),
    )
    latency_quantile: float = setting(
        0.9, "Share of the measured latencies on which pacing counts.", lowest=0.0, highest=1.0
    )
    margin_steps: int = setting(2, "Control steps that pacing keeps free beyond it.", lowest=0, highest=48)
    max_observation_age_s: float = setting(
        0.3,
        "The arm is stopped when the newest image of a camera or joint state is older [s].",
        lowest=0.05,
        highest=10.0,
    )
    max_tracking_error: float = setting(
        0.3,
        "The arm is stopped when a joint stays further from its command [rad or m]; joints with a mapping, "
        "such as grippers, are exempt.",
        lowest=0.01,
        highest=3.2,
    )
    lead_s: float = setting(
        0.05, "Time from a command to its splice; at least one control step [s].", lowest=0.005, highest=1.0
    )
    max_start_distance: float = setting(
        0.5,
        "A chunk is refused when its first target is further from the measured joints [rad or m]; joints "
        "with a mapping, such as grippers, are exempt.",
        lowest=0.001,
        highest=3.2,
    )

    def rollout(self, embodiment: Embodiment) -> RolloutSettings:
        """The share of the run."""
        return RolloutSettings(
            mode=self.mode,  # type: ignore[arg-type]
            latency_quantile=self.latency_quantile,
            margin_steps=self.margin_steps,
            dry_run=self.dry_run,
            tracking_tolerance=arm_tolerance(embodiment, self.max_tracking_error),
            motion=MotionSettings(
                lead_s=self.lead_s, start_tolerance=arm_tolerance(embodiment, self.max_start_distance)
            ),
        )


def arm_tolerance(embodiment: Embodiment, distance: float) -> NDArray[np.float64]:
    """(J,) distance that is tolerated [rad or m]: infinite for joints with a mapping, such as grippers.

    A gripper may jump between targets, and it stops at what it grasps.
    """
    return np.array(
        [
            distance if field.mapping is None else np.inf
            for field in joint_actions(embodiment)
            for _ in field.joints
        ]
    )


def make_policy(parameters: PolicyParameters, embodiment: Embodiment) -> tuple[Policy, float]:
    """Loads and warms up the policy; returns it with the duration of a warm call [s].

    Raises:
        ValueError: The parameters do not name a policy that can run here; says what to set.
    """
    if parameters.policy == "hold":
        return HoldPolicy(embodiment), 0.0
    if parameters.policy == "replay":
        return ReplayPolicy.of_run(embodiment, Path(parameters.recording)), 0.0
    if bool(parameters.checkpoint) == bool(parameters.random_weights):
        raise ValueError(
            "exactly one of the parameters checkpoint and random_weights must be set: checkpoint:=<folder or "
            "hub id> for a trained model, random_weights:=tiny for a trial without one"
        )
    _require_device(parameters.device)
    dtype = getattr(torch, parameters.dtype)
    if parameters.checkpoint:
        base = parameters.base_checkpoint or None
        engine = load_engine(parameters.checkpoint, parameters.device, dtype, base)
    else:
        engine = random_engine(parameters.random_weights, parameters.device, dtype)
    sampler = dataclasses.replace(
        engine.sampler,
        dit_steps=DYNAMIC if parameters.dit_steps == DYNAMIC else int(parameters.dit_steps),
        guidance_scale=parameters.guidance_scale,
        seed=parameters.seed,
    )
    policy = DreamZeroPolicy(engine, embodiment, sampler)
    return policy, policy.warm_up()


def _require_device(name: str) -> None:
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"parameter device: {name!r}, but torch sees no CUDA device; for the CPU set device:=cpu"
        )
