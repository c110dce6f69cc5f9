# SPDX-License-Identifier: Apache-2.0
"""The parameters of the policy node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dreamzero_ros.engine.config import FORMATS
from dreamzero_ros.engine.switches import NAMES
from dreamzero_ros.policy.motion_parameters import MotionParameters
from dreamzero_ros.policy.parameters import setting
from dreamzero_ros.policy.robot_parameters import RobotParameters

ONE: Final = "1"
DYNAMIC: Final = "dynamic"

SIMILARITY = 0.95
"""Similarity of flows above which the release skips four steps."""


@dataclass(frozen=True)
class PolicyParameters(MotionParameters, RobotParameters):
    """Every parameter of the policy node; `config/policy_node.yaml` shows them with their defaults."""

    policy: str = setting(
        "dreamzero",
        "What answers: the world action model, or a stand-in that asks the arm to stay (hold), moves it "
        "gently (wave) or replays chunks (replay).",
        choices=("dreamzero", "hold", "wave", "replay"),
    )
    recording: str = setting("", "For replay: a run.json of the demo, whose chunks are given out in order.")
    checkpoint: str = setting(
        "", "Weights in the reference release's layout: a folder, or a hub id such as owner/name."
    )
    base_checkpoint: str = setting(
        "", "For a checkpoint that holds adapters only: the weights that they were trained on, likewise."
    )
    lora_alpha: float = setting(
        0.0,
        "For adapters whose files do not say it: the alpha that they were trained with; 0: they do.",
        lowest=0.0,
        highest=1024.0,
    )
    random_weights: str = setting(
        "",
        "Instead of a checkpoint: variant with random weights (tiny, bench, wan22_5b, wan21_14b).",
    )
    device: str = setting(
        "cuda",
        "Torch device of the model: cuda, cuda:1 or cpu; several with commas share the work, such as "
        "cuda:0,cuda:1.",
    )
    dtype: str = setting(
        "bfloat16", "Number format of the model: bfloat16 on GPUs.", choices=("bfloat16", "float32")
    )
    linear_format: str = setting(
        "native",
        "Number format of the transformer's large linear layers: native is dtype, fp8 needs a GPU of compute "
        "capability 8.9, nvfp4 one of 10.0; fp8_weights saves memory only. All but native need torchao.",
        choices=FORMATS,
    )
    offload_text_encoder: bool = setting(
        False,
        "The text encoder rests in main memory and comes to the GPU layer by layer for a new instruction, "
        "which then takes longer: 11 GB less.",
    )
    dit_steps: str = setting(
        "8",
        "Denoising steps of 16 that run the transformer; dynamic decides by the similarity of its answers; 1 "
        "denoises in a single step, for checkpoints trained for it.",
        choices=(ONE, "5", "6", "7", "8", "16", DYNAMIC),
    )
    force_one_step: bool = setting(
        False, "For dit_steps 1: do so with a checkpoint that was not trained for it, for trials."
    )
    similarity: float = setting(
        SIMILARITY,
        "For dit_steps dynamic: 4 steps are skipped above this similarity, and 2 above 0.02 less; higher "
        "skips less.",
        lowest=0.5,
        highest=1.0,
    )
    speedups: str = setting(
        "exact",
        "What the engine does to be fast, with commas: exact (all that changes nothing and needs no "
        f"preparation), full (all that keeps the actions), eager (nothing), {', '.join(NAMES)}.",
    )
    guidance_scale: float = setting(
        5.0, "Weight of classifier-free guidance on the video; 1 halves the work.", lowest=1.0, highest=20.0
    )
    seed: int = setting(1140, "Seed of the initial noise of every chunk.", lowest=0, highest=2**31 - 1)
    added_latency_s: float = setting(
        0.0,
        "Every answer is held back this long [s]: what would a slower machine do? For trials.",
        lowest=0.0,
        highest=10.0,
    )
    command_output: str = setting(
        "topic",
        "How controllers are commanded: on their topic, or by goals of their FollowJointTrajectory action, "
        "which say when they reject or abort.",
        choices=("topic", "action"),
    )
    foreign_goals: str = setting(
        "refuse",
        "While somebody else's goal, such as MoveIt's, is active on a controller: refuse to command it, "
        "preempt the goal at the start of a run, or ignore it.",
        choices=("refuse", "preempt", "ignore"),
    )
    moveit_check_every: int = setting(
        0,
        "Ask MoveIt whether every n-th target of a chunk is free of collisions before it is sent; 0: do not.",
        lowest=0,
        highest=48,
    )
    moveit_group: str = setting("", "MoveIt's planning group of these questions; empty: the whole robot.")
    moveit_timeout_s: float = setting(
        0.2,
        "A chunk that MoveIt has not answered for after this time is refused [s].",
        lowest=0.01,
        highest=5.0,
    )
