# SPDX-License-Identifier: Apache-2.0
"""Each robot in closed loop on a made-up clock, with policies from fast to hopelessly slow."""

from __future__ import annotations

import numpy as np
import pytest
from closed_loop import STATUS_NS, Answered, ClosedLoopTests, Loop, Report, cases
from rollout_bench import MS, Bench

from dreamzero_ros.embodiment.layout import command_positions
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.policy.rollout import Command
from dreamzero_ros.policy.wave import WavePolicy

pytestmark = pytest.mark.cpu

RUN_S = 12
STEP_NS = 5 * MS
"""Time between two looks of the bench [ns]."""


@pytest.fixture(scope="module", params=cases())
def loop(request: pytest.FixtureRequest) -> Loop:
    name, share = request.param
    robot = load(name)
    policy = WavePolicy(robot, seed=0)
    bench = Bench(latency_s=share * robot.horizon * robot.dt_s, robot=robot, foresight=None)
    bench.answer = lambda asked: policy.infer(asked.frame)
    bench.rollout.start("wave")
    reports, measured = [], []
    for _ in range(RUN_S * 1_000_000_000 // STATUS_NS):
        bench.run(STATUS_NS * 1e-9)
        counters = bench.rollout.counters
        if counters.chunks:
            measured.append(command_positions(robot, bench.positions()))
            reports.append(
                Report(
                    bench.now_ns,
                    bench.rollout.state,
                    bench.rollout.reason,
                    counters.chunks,
                    counters.deadline_misses,
                )
            )
    return Loop(
        robot,
        share,
        look_ns=STEP_NS,
        chunks=[answered(command) for command in bench.commands],
        commands=bench.sent,
        reports=reports,
        measured=np.array(measured),
        chunks_in_the_end=bench.rollout.counters.chunks,
        misses_in_the_end=bench.rollout.counters.deadline_misses,
    )


def answered(command: Command) -> Answered:
    return Answered(
        command.chunk.stamp_ns,
        command.latency_s,
        command.plan.used,
        command.plan.dropped,
        command.chunk.targets,
        command.plan.trajectory,
    )


class TestClosedLoop(ClosedLoopTests):
    pass
