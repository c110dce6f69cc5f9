# SPDX-License-Identifier: Apache-2.0
"""The parameters of how a run is paced, watched and executed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.layout import joint_actions
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.plan import Settings as MotionSettings
from dreamzero_ros.motion.settings import OnRate
from dreamzero_ros.policy.parameters import setting
from dreamzero_ros.policy.settings import Mode, RolloutSettings


@dataclass(frozen=True)
class MotionParameters:
    """From a chunk to commands; most may change while the node runs."""

    mode: Mode = setting(
        "asynchronous",
        "asynchronous looks again while a chunk is executed; blocking executes, rests, looks, waits.",
        choices=("asynchronous", "blocking"),
    )
    dry_run: bool = setting(False, "Everything but commands: chunks are planned and shown, none is sent.")
    latency_quantile: float = setting(
        0.9, "Share of the measured latencies on which pacing counts.", lowest=0.0, highest=1.0, live=True
    )
    margin_steps: int = setting(
        2, "Control steps that pacing keeps free beyond it.", lowest=0, highest=48, live=True
    )
    look_ahead: bool = setting(
        True,
        "Asynchronous: images of the next call are encoded before it, while the policy is idle; the answers "
        "are the same, and sooner there.",
        live=True,
    )
    max_observation_age_s: float = setting(
        0.3,
        "The arm is stopped when the newest image of a camera or joint state is older [s].",
        lowest=0.05,
        highest=10.0,
        live=True,
    )
    max_tracking_error: float = setting(
        0.3,
        "The arm is stopped when a joint stays further from its command [rad or m]; joints with a mapping, "
        "such as grippers, are exempt.",
        lowest=0.01,
        highest=3.2,
        live=True,
    )
    max_start_distance: float = setting(
        0.5,
        "A chunk is refused when its first target is further from the measured joints [rad or m]; joints "
        "with a mapping, such as grippers, are exempt.",
        lowest=0.001,
        highest=3.2,
        live=True,
    )
    on_position_limit: Literal["clamp", "refuse"] = setting(
        "clamp",
        "When a chunk leaves a position limit: keep it within (clamp), or hold and ask again (refuse).",
        choices=("clamp", "refuse"),
        live=True,
    )
    on_velocity_limit: OnRate = setting(
        "clamp",
        "When a chunk is too fast: follow it as fast as allowed (clamp), slow down all of it (slow_down), or "
        "hold and ask again (refuse).",
        choices=("clamp", "slow_down", "refuse"),
        live=True,
    )
    on_acceleration_limit: OnRate = setting(
        "clamp",
        "When a chunk is too sudden: as on_velocity_limit.",
        choices=("clamp", "slow_down", "refuse"),
        live=True,
    )
    speed_scale: float = setting(
        1.0,
        "Speed at which chunks are executed, 1 is that of the policy; the model was trained at 1.",
        lowest=0.05,
        highest=1.0,
        live=True,
    )
    approach_speed: float = setting(
        0.1,
        "Share of the velocity and acceleration limits on the way to the start pose.",
        lowest=0.01,
        highest=1.0,
        live=True,
    )
    smooth: bool = setting(
        True, "Smooth chunks as published for the model (Savitzky-Golay); grippers are exempt.", live=True
    )
    gripper_debounce_steps: int = setting(
        2,
        "A gripper that would change and change back within so many control steps stays.",
        lowest=0,
        highest=24,
        live=True,
    )
    lead_s: float = setting(
        0.05,
        "Time from a command to its splice; at least one control step [s].",
        lowest=0.005,
        highest=1.0,
        live=True,
    )
    idle_motion: float = setting(
        0.01,
        "An arm of which no joint moves further counts as idle [rad or m]; see idle_time of the run action.",
        lowest=0.0001,
        highest=1.0,
        live=True,
    )

    def rollout(self, embodiment: Embodiment) -> RolloutSettings:
        """The settings of a run."""
        return RolloutSettings(
            mode=self.mode,
            dry_run=self.dry_run,
            latency_quantile=self.latency_quantile,
            margin_steps=self.margin_steps,
            look_ahead=self.look_ahead,
            max_observation_age_s=self.max_observation_age_s,
            tracking_tolerance=arm_tolerance(embodiment, self.max_tracking_error),
            idle_motion=self.idle_motion,
            approach_share=self.approach_speed,
            motion=MotionSettings(
                lead_s=self.lead_s,
                start_tolerance=arm_tolerance(embodiment, self.max_start_distance),
                smooth=self.smooth,
                grippers=np.isin(embodiment.command_joints, embodiment.gripper_joints),
                debounce_steps=self.gripper_debounce_steps,
                speed_scale=self.speed_scale,
                on_position=self.on_position_limit,
                on_velocity=self.on_velocity_limit,
                on_acceleration=self.on_acceleration_limit,
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
