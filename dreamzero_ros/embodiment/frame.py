# SPDX-License-Identifier: Apache-2.0
"""The two values that cross every boundary: what was observed, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Embodiment


@dataclass(frozen=True, eq=False)
class Frame:
    """One synchronised observation (never a tf frame, never a single picture)."""

    stamp_ns: int
    """`t_k`, capture time of the newest complete image set [ns, ROS clock]."""
    images: Mapping[str, NDArray[np.uint8]]
    """By camera name: (T, H, W, 3) RGB, oldest first; T is 1 or the number of image offsets."""
    image_stamps_ns: Mapping[str, NDArray[np.int64]]
    """By camera name: (T,) capture times [ns, ROS clock]."""
    positions: NDArray[np.float64]
    """(J,) joint positions at `t_k` in the order of `Embodiment.state_joints` [rad or m]."""
    instruction: str
    """What the robot is asked to do, in words."""


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """The answer to one frame: joint targets over the horizon."""

    stamp_ns: int
    """`t_k` of the frame that it answers [ns, ROS clock]."""
    dt_s: float
    """Control step [s]; target i is due at `stamp_ns` + (i + 1) `dt_s`."""
    joints: tuple[str, ...]
    """Columns of `targets`, as `Embodiment.command_joints`."""
    targets: NDArray[np.float64]
    """(A, J) absolute joint positions in robot units [rad or m]."""
    latency_s: Mapping[str, float] = field(default_factory=dict)
    """Time spent per stage [s]."""
    context_frames: int = 0
    """Latent frames in the KV cache after the call."""
    computed_steps: int = 0
    """Denoising steps that were computed rather than reused."""
    canvas: NDArray[np.uint8] | None = None
    """(T, H, W, 3) RGB, what the model saw; None where no model looked."""


def make_example(embodiment: Embodiment, rng: np.random.Generator, images: int = 1) -> Frame:
    """A random valid frame of that robot, for tests, warm-up and documentation.

    Args:
        embodiment: The robot.
        rng: Source of the images and of the joint positions.
        images: Images per camera, 1 or the number of image offsets.
    """
    offsets = embodiment.image_offsets_steps[-images:]
    if len(offsets) != images:
        raise ValueError(f"images: expected 1 to {len(embodiment.image_offsets_steps)}, got {images}")
    limits = [embodiment.limits[joint] for joint in embodiment.state_joints]
    stamp_ns = 10**9 * int(rng.integers(1_000, 1_000_000))
    stamps = stamp_ns + np.array([round(step * embodiment.dt_s * 1e9) for step in offsets], dtype=np.int64)
    return Frame(
        stamp_ns=stamp_ns,
        images={
            camera.name: rng.integers(0, 256, (images, camera.height, camera.width, 3), dtype=np.uint8)
            for camera in embodiment.cameras
        },
        image_stamps_ns={camera.name: stamps.copy() for camera in embodiment.cameras},
        positions=rng.uniform([limit.lower for limit in limits], [limit.upper for limit in limits]),
        instruction="put the red cube into the bowl",
    )
