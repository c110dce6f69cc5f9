# SPDX-License-Identifier: Apache-2.0
"""The thread of the policy: tasks are done in order, and an error of looking ahead stops nothing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dreamzero_ros.embodiment.frame import ActionChunk, Frame, make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.weights import random_engine
from dreamzero_ros.policy.base import Images, Policy
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy
from dreamzero_ros.policy.rollout import Request
from dreamzero_ros.policy.worker import Answer, Dream, PolicyWorker, not_ahead
from dreamzero_ros.policy.wrapper import PolicyWrapper

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
PATIENCE_S = 60.0


class Watched(PolicyWrapper):
    """Answers once it may, and says when it has looked ahead."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, "watched")
        self.may_answer = threading.Event()
        self.looked = threading.Event()

    def infer(self, frame: Frame) -> ActionChunk:
        assert self.may_answer.wait(PATIENCE_S)
        return super().infer(frame)

    def look_ahead(self, images: Images) -> None:
        super().look_ahead(images)
        self.looked.set()


class Bench:
    """A worker, its policy, a call that begins a session and one that goes on."""

    def __init__(self) -> None:
        engine = random_engine("tiny", "cpu", torch.float32)
        self.policy = Watched(DreamZeroPolicy(engine, ROBOT, SamplerConfig(dit_steps=5)))
        self._delivered: queue.SimpleQueue[Answer | Dream | Exception] = queue.SimpleQueue()
        self.worker = PolicyWorker(self.policy, self._delivered.put, lambda: False)
        rng = np.random.default_rng(0)
        first, self.later = make_example(ROBOT, rng), make_example(ROBOT, rng, 4)
        self.requests = [
            Request(frame, new_session=serial == 0, serial=serial, age_s=0.0)
            for serial, frame in enumerate((first, self.later))
        ]

    def look_ahead(self, images: int = 2) -> None:
        self.worker.look_ahead({name: given[:images] for name, given in self.later.images.items()})

    def delivered(self) -> Answer | Dream | Exception:
        return self._delivered.get(timeout=PATIENCE_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    found = Bench()
    yield found
    found.policy.may_answer.set()
    found.worker.close()


def test_it_looks_ahead_while_it_is_idle(bench: Bench) -> None:
    bench.policy.may_answer.set()
    bench.worker.ask(bench.requests[0])
    assert "image" in bench.delivered().chunk.latency_s
    bench.look_ahead()
    assert bench.policy.looked.wait(PATIENCE_S)
    bench.worker.ask(bench.requests[1])
    answer = bench.delivered()
    assert answer.serial == 1 and "video_rest" in answer.chunk.latency_s


def test_a_request_does_not_wait_for_images_that_came_before_it(bench: Bench) -> None:
    bench.worker.ask(bench.requests[0])
    bench.look_ahead()
    bench.worker.ask(bench.requests[1])
    bench.policy.may_answer.set()
    assert [bench.delivered().serial, (answer := bench.delivered()).serial] == [0, 1]
    assert "video_encode" in answer.chunk.latency_s and not bench.policy.looked.is_set()


def test_an_error_of_looking_ahead_is_told_and_the_next_request_answered(bench: Bench) -> None:
    bench.policy.may_answer.set()
    bench.worker.ask(bench.requests[0])
    assert bench.delivered().serial == 0
    bench.look_ahead(4)
    error = bench.delivered()
    assert isinstance(error, ValueError)
    assert not_ahead(error) == (
        "images of the next call were not encoded ahead: "
        "ValueError: images: expected 1 to 3 to look ahead, got 4"
    )
    bench.worker.ask(bench.requests[1])
    answer = bench.delivered()
    assert answer.serial == 1 and "video_encode" in answer.chunk.latency_s
