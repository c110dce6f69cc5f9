# SPDX-License-Identifier: Apache-2.0
"""Chunks that need approval: nothing is given out without, and the time it takes is told."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from dreamzero_ros.embodiment.frame import ActionChunk, Frame, make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.policy.stand_ins import HoldPolicy
from dreamzero_ros.policy.validated import ValidatedPolicy

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
FRAME = make_example(ROBOT, np.random.default_rng(0))
TAKES_S = 0.02


class Inner(HoldPolicy):
    """Notes what it is told, dreams, and tells a latency of its own."""

    doubts = ("random weights",)

    def __init__(self, told: list[str]) -> None:
        super().__init__(ROBOT)
        self.told = told

    def infer(self, frame: Frame) -> ActionChunk:
        return dataclasses.replace(super().infer(frame), latency_s={"denoise": 0.3}, context_frames=3)

    def imagined(self) -> np.ndarray:
        return np.full((1, 2, 2, 3), 7, np.uint8)

    def reset(self) -> None:
        self.told.append("policy reset")

    def interrupt(self) -> None:
        self.told.append("policy interrupt")

    def close(self) -> None:
        self.told.append("policy close")


class Judge:
    """Approves, or refuses with its words."""

    name = "a judge"

    def __init__(self, told: list[str], words: str = "") -> None:
        self.told = told
        self.words = words
        self.seen: list[ActionChunk] = []

    def check(self, chunk: ActionChunk) -> None:
        self.seen.append(chunk)
        time.sleep(TAKES_S)
        if self.words:
            raise MotionError(self.words)

    def interrupt(self) -> None:
        self.told.append("judge interrupt")

    def close(self) -> None:
        self.told.append("judge close")


def test_an_approved_chunk_is_that_of_the_policy_with_the_time_it_took() -> None:
    judge = Judge([])
    chunk = ValidatedPolicy(Inner([]), judge).infer(FRAME)
    assert [seen.stamp_ns for seen in judge.seen] == [FRAME.stamp_ns]
    assert chunk.targets is judge.seen[0].targets
    assert chunk.latency_s["denoise"] == 0.3 and chunk.latency_s["validity"] >= TAKES_S
    assert chunk.context_frames == 3


def test_a_refused_chunk_is_not_given_out() -> None:
    with pytest.raises(MotionError, match="through the table"):
        ValidatedPolicy(Inner([]), Judge([], "through the table")).infer(FRAME)


def test_policy_and_judge_are_interrupted_and_closed() -> None:
    told: list[str] = []
    policy = ValidatedPolicy(Inner(told), Judge(told))
    policy.reset()
    policy.interrupt()
    policy.close()
    assert told == ["policy reset", "policy interrupt", "judge interrupt", "policy close", "judge close"]


def test_it_says_what_it_is() -> None:
    policy = ValidatedPolicy(Inner([]), Judge([]))
    assert policy.name == "hold, checked by a judge"
    assert policy.doubts == Inner.doubts and policy.uses_history is Inner.uses_history
    np.testing.assert_array_equal(policy.imagined(), Inner([]).imagined())
