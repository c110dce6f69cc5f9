# SPDX-License-Identifier: Apache-2.0
"""Answers that are held back: as long as told on the given clock, and never at the end."""

from __future__ import annotations

import queue
import threading

import numpy as np
import pytest

from dreamzero_ros.embodiment.frame import ActionChunk, Frame, make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.policy.delayed import DelayedPolicy
from dreamzero_ros.policy.rollout import Request
from dreamzero_ros.policy.stand_ins import HoldPolicy
from dreamzero_ros.policy.worker import PolicyWorker

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
FRAME = make_example(ROBOT, np.random.default_rng(0))
MS = 1_000_000


class Clock:
    """Stands still until it is set; by default at half a second."""

    def __init__(self) -> None:
        self.ns = 500 * MS
        self.read = threading.Semaphore(0)
        """Released whenever somebody looks."""

    def __call__(self) -> int:
        self.read.release()
        return self.ns


class Told(HoldPolicy):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__(ROBOT)
        self.told: list[str] = []

    def reset(self) -> None:
        self.told.append("reset")

    def interrupt(self) -> None:
        self.told.append("interrupt")

    def close(self) -> None:
        self.told.append("close")


def asked(policy: DelayedPolicy) -> queue.SimpleQueue[ActionChunk]:
    answers: queue.SimpleQueue[ActionChunk] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(policy.infer(FRAME)), daemon=True).start()
    return answers


def let_it_look(clock: Clock) -> None:
    """Waits until the clock was looked at again, three times."""
    for _ in range(3):
        assert clock.read.acquire(timeout=10)


def test_the_answer_comes_when_the_time_has_passed_on_the_clock_and_not_before() -> None:
    clock = Clock()
    answers = asked(DelayedPolicy(HoldPolicy(ROBOT), 0.2, clock))
    for ns in (500 * MS, 600 * MS, 700 * MS - 1):
        clock.ns = ns
        while clock.read.acquire(blocking=False):
            pass
        let_it_look(clock)
        assert answers.empty()
    clock.ns = 700 * MS
    chunk = answers.get(timeout=10)
    np.testing.assert_array_equal(chunk.targets, HoldPolicy(ROBOT).infer(FRAME).targets)
    assert chunk.stamp_ns == FRAME.stamp_ns


def test_the_time_of_the_policy_itself_counts() -> None:
    clock = Clock()

    class Slow(HoldPolicy):
        def infer(self, frame: Frame) -> ActionChunk:
            clock.ns += 300 * MS
            return super().infer(frame)

    assert asked(DelayedPolicy(Slow(ROBOT), 0.2, clock)).get(timeout=10)


def test_without_a_delay_it_answers_at_once() -> None:
    assert DelayedPolicy(HoldPolicy(ROBOT), 0.0, Clock()).infer(FRAME)


def test_the_end_does_not_wait_for_a_clock_that_stands_still() -> None:
    clock, inner = Clock(), Told()
    worker = PolicyWorker(DelayedPolicy(inner, 5.0, clock), lambda item: None, lambda: False)
    worker.ask(Request(FRAME, new_session=True, serial=1, age_s=0.0))
    let_it_look(clock)
    end = threading.Thread(target=worker.close, daemon=True)
    end.start()
    end.join(10)
    assert not end.is_alive()
    assert inner.told == ["reset", "interrupt", "close"]


def test_it_says_what_it_is() -> None:
    policy = DelayedPolicy(HoldPolicy(ROBOT), 0.96, Clock())
    assert policy.name == "hold, answers 0.96 s after it was asked"
    assert policy.uses_history is False and policy.imagined() is None
