# SPDX-License-Identifier: Apache-2.0
"""The thread of the policy: tasks are done in order, and an error of looking ahead stops nothing."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dreamzero_ros.embodiment.frame import Frame, make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.weights import random_engine
from dreamzero_ros.policy.delayed import DelayedPolicy
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy
from dreamzero_ros.policy.rollout import Request
from dreamzero_ros.policy.worker import Answer, Dream, PolicyWorker, not_ahead

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
PATIENCE_S = 60.0


class Asked:
    """A worker and what it delivered."""

    def __init__(self) -> None:
        policy = DreamZeroPolicy(
            random_engine("tiny", "cpu", torch.float32), ROBOT, SamplerConfig(dit_steps=5)
        )
        self._delivered: queue.SimpleQueue[Answer | Dream | Exception] = queue.SimpleQueue()
        self.worker = PolicyWorker(DelayedPolicy(policy, 0.0, lambda: 0), self._delivered.put, lambda: False)

    def ask(self, serial: int, frame: Frame) -> None:
        self.worker.ask(Request(frame, new_session=serial == 0, serial=serial, age_s=0.0))

    def next(self) -> Answer | Dream | Exception:
        return self._delivered.get(timeout=PATIENCE_S)


@pytest.fixture
def asked() -> Iterator[Asked]:
    found = Asked()
    yield found
    found.worker.close()


def test_it_looks_ahead_before_it_is_asked(asked: Asked) -> None:
    """All at once: nobody waits for one task to end before the next is given."""
    rng = np.random.default_rng(0)
    first, later = make_example(ROBOT, rng), make_example(ROBOT, rng, 4)
    asked.ask(0, first)
    asked.worker.look_ahead({name: images[:2] for name, images in later.images.items()})
    asked.ask(1, later)
    answers = [asked.next(), asked.next()]
    assert [answer.serial for answer in answers] == [0, 1]
    assert "image" in answers[0].chunk.latency_s and "video_rest" in answers[1].chunk.latency_s


def test_an_error_of_looking_ahead_is_told_and_the_next_request_answered(asked: Asked) -> None:
    rng = np.random.default_rng(0)
    first, later = make_example(ROBOT, rng), make_example(ROBOT, rng, 4)
    asked.ask(0, first)
    asked.worker.look_ahead(later.images)  # all of them are too many
    asked.ask(1, later)
    assert asked.next().serial == 0
    error = asked.next()
    assert isinstance(error, ValueError)
    assert not_ahead(error) == (
        "images of the next call were not encoded ahead: "
        "ValueError: images: expected 1 to 3 to look ahead, got 4"
    )
    answer = asked.next()
    assert answer.serial == 1 and "video_encode" in answer.chunk.latency_s
