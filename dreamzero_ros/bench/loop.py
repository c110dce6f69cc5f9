# SPDX-License-Identifier: Apache-2.0
"""Times the loop: from messages to the engine, the engine, from its answer to the trajectory.

Ends in one line of JSON for scripts. Random weights suffice, so any variant can be timed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from dreamzero_ros.embodiment.frame import Frame
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine import bench as engine_bench
from dreamzero_ros.engine.bench_report import print_table
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.parallel import RankError
from dreamzero_ros.engine.weights import random_engine
from dreamzero_ros.motion import bench as motion_bench
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.observation.decode import decode_image, fit, stamp_ns
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy

ROBOT = "droid_franka"
IMAGE_SIZE = (640, 480)
CAMERA_PERIOD_NS = 66_666_667
SETS, WARM_UP_SETS = 200, 30
"""Image sets of the observation bench; the first ones fill the buffer and are not counted."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry."""
    print_json(measure(arguments))


def measure(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures what the arguments of the console ask for, prints tables, and returns all figures."""
    parser = argparse.ArgumentParser(
        prog="dreamzero-bench",
        description=__doc__.splitlines()[0],
        epilog="dreamzero-bench gpu measures everything that the package owes of a GPU: see its --help",
    )
    engine_bench.add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        engine = engine_bench.measure(options)
    except (ValueError, RankError) as error:
        parser.error(str(error))
    print_table(engine)
    observation = measure_observation()
    width, height = IMAGE_SIZE
    print(f"{'arrival of the last image of a set to the engine [ms]':<40}")
    print(
        f"  {f'three {width}x{height} rgb8 images':<36}"
        f"{observation['median_ms']:10.2f}{observation['p99_ms']:10.2f}"
    )
    motion = motion_bench.measure()
    motion_bench.print_table(motion)
    return {"engine": engine, "observation": observation, "motion": motion}


def print_json(results: dict[str, Any]) -> None:
    """Prints figures as the last line, for scripts."""
    print(json.dumps(results, separators=(",", ":")))


def measure_observation() -> dict[str, float]:
    """Median and 99th percentile of decoding, fitting, buffering, frame of four sets and canvas [ms].

    The first two images of a set are in the buffer when the clock starts; it stops where the engine's session
    is called.
    """
    robot = load(ROBOT)
    policy = DreamZeroPolicy(random_engine("tiny", "cpu", torch.float32), robot, SamplerConfig())
    buffer = ObservationBuffer(robot, max_age_s=1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGE_SIZE[1], IMAGE_SIZE[0], 3), np.uint8).tobytes()
    positions = np.array([robot.start_pose[joint] for joint in robot.state_joints])

    def take(camera_index: int, at_ns: int) -> None:
        camera = robot.cameras[camera_index]
        message = _message(pixels, at_ns)
        image = fit(decode_image(message, camera.topic), camera.width, camera.height, camera.fit)
        buffer.add_image(camera.name, stamp_ns(message), image)

    taken_ms = []
    for index in range(SETS):
        at_ns = (1 + index) * CAMERA_PERIOD_NS
        buffer.add_joint_state(at_ns, positions)
        for camera_index in range(len(robot.cameras) - 1):
            take(camera_index, at_ns)
        begin = time.perf_counter()
        take(len(robot.cameras) - 1, at_ns)
        frame = buffer.frame(len(robot.image_offsets_steps) if index >= WARM_UP_SETS else 1, "bench", at_ns)
        assert isinstance(frame, Frame)
        policy.prepare(frame)
        taken_ms.append(1e3 * (time.perf_counter() - begin))
    median, p99 = np.percentile(taken_ms[WARM_UP_SETS:], [50, 99])
    return {"median_ms": round(float(median), 3), "p99_ms": round(float(p99), 3)}


def _message(pixels: bytes, at_ns: int) -> SimpleNamespace:
    """Shaped as sensor_msgs/Image."""
    width, height = IMAGE_SIZE
    stamp = SimpleNamespace(sec=at_ns // 1_000_000_000, nanosec=at_ns % 1_000_000_000)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp),
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        is_bigendian=0,
        data=pixels,
    )
