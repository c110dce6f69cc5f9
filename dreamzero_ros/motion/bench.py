# SPDX-License-Identifier: Apache-2.0
"""Times the planning of one chunk."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from dreamzero_ros.motion.limits import Limits, Taper
from dreamzero_ros.motion.plan import Settings, plan
from dreamzero_ros.motion.trajectory import NS_PER_S, Floats

HORIZON = 24
JOINTS = 22
GRIPPERS = np.arange(JOINTS) >= JOINTS - 2
REPEATS = 300
WARM_UP = 20
LIMITS = Limits(np.full(JOINTS, -2.8), np.full(JOINTS, 2.8), np.full(JOINTS, 2.0), np.full(JOINTS, 10.0))
TAPER = Taper(np.full(JOINTS, 0.3), np.full(JOINTS, 12.0), np.full(JOINTS, -2.81), np.full(JOINTS, 2.81))
PLAIN = Settings(start_tolerance=np.inf, smooth=False)
FULL = replace(PLAIN, smooth=True, grippers=GRIPPERS)
CASES = {
    "smooth motion": (0.0, LIMITS, PLAIN),
    "noisy motion": (0.3, LIMITS, PLAIN),
    "noisy, smoothed": (0.3, LIMITS, FULL),
    "noisy, smoothed, tapered": (0.3, replace(LIMITS, taper=TAPER), FULL),
    "noisy, smoothed, tapered, slowed down": (
        0.03,
        replace(LIMITS, taper=TAPER),
        replace(FULL, on_velocity="slow_down", on_acceleration="slow_down"),
    ),
}
"""Standard deviation of what is added to a motion within limits [rad]; limits; settings."""


@dataclass(frozen=True, eq=False)
class RandomChunk:
    """A chunk of targets (A, J)."""

    stamp_ns: int
    dt_s: float
    joints: tuple[str, ...]
    targets: Floats


def _time_plans(rate_hz: float, noise: float, limits: Limits, settings: Settings) -> dict[str, float]:
    """Median and 99th percentile of planning 24 x 22 targets onto a moving robot [ms].

    Args:
        rate_hz: control rate.
        noise: standard deviation of what is added to a smooth motion [rad]; 0 leaves it within limits.
        limits: of the joints.
        settings: how the chunks become trajectories.
    """
    rng = np.random.default_rng(0)
    joints = tuple(f"joint{j}" for j in range(JOINTS))
    phase = rng.uniform(0, 2 * np.pi, JOINTS)
    executing, taken_ms, scales = None, [], []
    for k in range(WARM_UP + REPEATS):
        stamp_s = 0.5 * k
        due_s = stamp_s + np.arange(1, HORIZON + 1)[:, None] / rate_hz
        targets = 0.5 * np.sin(2.5 * due_s + phase) + noise * rng.standard_normal((HORIZON, JOINTS))
        chunk = RandomChunk(round(stamp_s * NS_PER_S), 1 / rate_hz, joints, targets)
        begin = time.perf_counter()
        made = plan(chunk, executing, targets[0], chunk.stamp_ns + NS_PER_S // 10, limits, settings)
        taken_ms.append(1e3 * (time.perf_counter() - begin))
        scales.append(made.time_scale)
        executing = made.trajectory
    median, p99 = np.percentile(taken_ms[WARM_UP:], [50, 99])
    return {
        "median_ms": round(float(median), 3),
        "p99_ms": round(float(p99), 3),
        "time_scale": round(float(np.median(scales)), 2),
    }


def measure() -> dict[str, dict[str, float]]:
    """Median and 99th percentile [ms], and by how much the median chunk was slowed down, by case."""
    return {
        f"{name}, {rate_hz:.0f} Hz": _time_plans(rate_hz, *case)
        for rate_hz in (15.0, 30.0)
        for name, case in CASES.items()
    }


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Prints what `measure` returned."""
    print(f"{f'one plan, {HORIZON} x {JOINTS} targets [ms]':<48}{'median':>10}{'99 %':>10}{'slower':>10}")
    for case, row in results.items():
        print(f"  {case:<46}{row['median_ms']:10.2f}{row['p99_ms']:10.2f}{row['time_scale']:10.2f}")
