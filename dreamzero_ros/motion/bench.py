# SPDX-License-Identifier: Apache-2.0
"""Times one plan; `python -m dreamzero_ros.motion.bench` prints a table and ends in one JSON line."""

from __future__ import annotations

import json
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


def bench(rate_hz: float, noise: float) -> dict[str, float]:
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


def main() -> None:
    """Prints the table and the JSON line."""
    results = {}
    print(f"one plan, {HORIZON} x {JOINTS} targets    median   99 %   [ms]")
    for rate_hz in (15.0, 30.0):
        for name, noise in (("smooth", 0.0), ("noisy", 0.3)):
            case = f"{name}_{rate_hz:.0f}hz"
            results[case] = bench(rate_hz, noise)
            print(f"  {case:<28} {results[case]['median_ms']:8.3f} {results[case]['p99_ms']:7.3f}")
    print(json.dumps({"motion_plan": results}))


if __name__ == "__main__":
    main()
