# SPDX-License-Identifier: Apache-2.0
"""Latencies against the time that a chunk covers, and dry chunks of a policy."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.latency import CHUNKS, check_policy, judge
from dreamzero_ros.ros.check.rows import Result

pytestmark = pytest.mark.ros

ROBOT = load("droid_franka")
"""24 steps at 15 Hz: 1.6 s."""


@pytest.mark.parametrize(
    ("latencies_s", "changes", "result", "words"),
    [
        ([0.2] * 10, {}, Result.PASS, "every 19 steps"),
        ([0.2] * 19 + [1.5], {}, Result.WARN, "slowest would have been late"),
        ([1.45] * 10, {}, Result.FAIL, "every 1 steps"),
        ([3.0] * 10, {}, Result.FAIL, "too little"),
        ([3.0] * 10, {"mode": "blocking"}, Result.PASS, "rests"),
        ([1.45] * 10, {"speed_scale": 0.5}, Result.PASS, "a chunk lasts 3200 ms"),
    ],
)
def test_the_pacing_of_the_node_decides(
    latencies_s: list[float], changes: dict[str, object], result: Result, words: str
) -> None:
    row = judge(PolicyParameters(**changes), ROBOT, latencies_s)
    assert row.result is result and words in row.finding
    assert result is Result.PASS or "dit_steps" in row.fix


def test_without_observations_it_is_skipped_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamzero_ros.ros.check.latency.PATIENCE_S", 0.1)
    buffer = ObservationBuffer(ROBOT, 0.3)
    rows = check_policy(PolicyParameters(policy="hold"), ROBOT, buffer, time.time_ns)
    assert [row.result for row in rows] == [Result.PASS, Result.SKIPPED]
    assert rows[1].finding == "camera exterior_image_1_left: no image yet"


def test_a_policy_that_cannot_be_loaded_fails() -> None:
    parameters = PolicyParameters(policy="replay", recording="/no/run.json")
    rows = check_policy(parameters, ROBOT, ObservationBuffer(ROBOT, 0.3), time.time_ns)
    assert [row.result for row in rows] == [Result.FAIL] and "run.json" in rows[0].finding


def test_every_dry_chunk_sees_newer_images() -> None:
    """A policy that holds answers at once, so ten chunks last as long as ten image sets."""
    buffer, leaving = ObservationBuffer(ROBOT, 1.0), threading.Event()
    sets: list[int] = []

    def film() -> None:
        while not leaving.wait(0.02):
            sets.append(time.time_ns())
            for camera in ROBOT.cameras:
                image = np.zeros((camera.height, camera.width, 3), np.uint8)
                buffer.add_image(camera.name, sets[-1], image)
            buffer.add_joint_state(sets[-1], np.zeros(len(ROBOT.state_joints)))

    thread = threading.Thread(target=film)
    thread.start()
    try:
        rows = check_policy(PolicyParameters(policy="hold"), ROBOT, buffer, time.time_ns)
    finally:
        leaving.set()
        thread.join()
    assert f"{CHUNKS} dry chunks" in rows[1].finding and rows[1].result is Result.PASS
    assert len(sets) >= CHUNKS
