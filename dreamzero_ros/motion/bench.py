# SPDX-License-Identifier: Apache-2.0
"""Times the planning of one chunk."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.plan import Settings, plan
from dreamzero_ros.motion.trajectory import NS_PER_S, Floats

HORIZON = 24
JOINTS = 22
REPEATS = 300
WARM_UP = 20


@dataclass(frozen=True, eq=False)
class RandomChunk:
    """A chunk of targets (A, J)."""

    stamp_ns: int
    dt_s: float
    joints: tuple[str, ...]
    targets: Floats


def _time_plans(rate_hz: float, noise: float) -> dict[str, float]:
    """Median and 99th percentile of planning 24 x 22 targets onto a moving robot [ms].

    Args:
        rate_hz: control rate.
        noise: standard deviation of what is added to a smooth motion [rad]; 0 leaves it within limits.
    """
    rng = np.random.default_rng(0)
    limits = Limits(np.full(JOINTS, -2.8), np.full(JOINTS, 2.8), np.full(JOINTS, 2.0), np.full(JOINTS, 10.0))
    settings = Settings(start_tolerance=np.inf)
    joints = tuple(f"joint{j}" for j in range(JOINTS))
    phase = rng.uniform(0, 2 * np.pi, JOINTS)
    executing, taken_ms = None, []
    for k in range(WARM_UP + REPEATS):
        stamp_s = 0.5 * k
        due_s = stamp_s + np.arange(1, HORIZON + 1)[:, None] / rate_hz
        targets = 0.5 * np.sin(2.5 * due_s + phase) + noise * rng.standard_normal((HORIZON, JOINTS))
        chunk = RandomChunk(round(stamp_s * NS_PER_S), 1 / rate_hz, joints, targets)
        begin = time.perf_counter()
        executing = plan(
            chunk, executing, targets[0], chunk.stamp_ns + NS_PER_S // 10, limits, settings
        ).trajectory
        taken_ms.append(1e3 * (time.perf_counter() - begin))
    median, p99 = np.percentile(taken_ms[WARM_UP:], [50, 99])
    return {"median_ms": round(float(median), 3), "p99_ms": round(float(p99), 3)}


def measure() -> dict[str, dict[str, float]]:
    """Median and 99th percentile by case [ms]."""
    return {
        f"{name}_{rate_hz:.0f}hz": _time_plans(rate_hz, noise)
        for rate_hz in (15.0, 30.0)
        for name, noise in (("smooth", 0.0), ("noisy", 0.3))
    }


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Prints what `measure` returned."""
    print(f"{f'one plan, {HORIZON} x {JOINTS} targets [ms]':<40}{'median':>10}{'99 %':>10}")
    for case, row in results.items():
        print(f"  {case:<38}{row['median_ms']:10.2f}{row['p99_ms']:10.2f}")
