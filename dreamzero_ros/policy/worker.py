# SPDX-License-Identifier: Apache-2.0
"""Runs a policy in a thread of its own, one task after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.policy.base import Images, Policy
from dreamzero_ros.policy.rollout import Request


@dataclass(frozen=True)
class Answer:
    """What came of a request: a chunk, or the error that the policy raised."""

    serial: int
    chunk: ActionChunk | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Dream:
    """The images that belong to an answered chunk."""

    chunk: ActionChunk
    video: NDArray[np.uint8]
    """(T, H, W, 3) RGB, equally spaced up to the last target of the chunk."""

    def times_ns(self) -> list[int]:
        """(T,) time for which each image was dreamed [ns, ROS clock]."""
        count = len(self.video)
        step_ns = round(self.chunk.dt_s * len(self.chunk.targets) / count * 1e9)
        return [self.chunk.stamp_ns + (index + 1) * step_ns for index in range(count)]


def not_ahead(error: Exception) -> str:
    """What an error of `Policy.look_ahead` means, in words."""
    return f"images of the next call were not encoded ahead: {type(error).__name__}: {error}"


class PolicyWorker:
    """Owns the thread; the policy is called from it alone.

    Args:
        policy: Called from the thread of this object only.
        deliver: Called from that thread with every answer, with the dream after it, and with an error of
            looking ahead.
        wants_dream: Asked after every answer; decoding the video costs time.
    """

    def __init__(
        self,
        policy: Policy,
        deliver: Callable[[Answer | Dream | Exception], None],
        wants_dream: Callable[[], bool],
    ) -> None:
        self._policy = policy
        self._deliver = deliver
        self._wants_dream = wants_dream
        self._tasks: queue.SimpleQueue[Request | Images | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="policy", daemon=True)
        self._thread.start()

    def ask(self, request: Request) -> None:
        """Queues a request; the answer is delivered later."""
        self._tasks.put(request)

    def look_ahead(self, images: Images) -> None:
        """Queues the first images of the next request, which does not wait for them to be looked at.

        Nothing is delivered but an error.
        """
        self._tasks.put(images)

    def close(self) -> None:
        """Waits for the task at hand, which is interrupted, then ends the thread and closes the policy."""
        self._tasks.put(None)
        self._policy.interrupt()
        self._thread.join()
        self._policy.close()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if isinstance(task, Request):
                self._answer(task)
            elif self._tasks.empty():
                self._foresee(task)

    def _answer(self, request: Request) -> None:
        try:
            if request.new_session:
                self._policy.reset()
            chunk = self._policy.infer(request.frame)
        except Exception as error:  # whatever it is, it must reach the operator as words
            self._deliver(Answer(request.serial, error=error))
            return
        self._deliver(Answer(request.serial, chunk=chunk))
        if self._wants_dream():
            self._dream(chunk)

    def _foresee(self, images: Images) -> None:
        try:
            self._policy.look_ahead(images)
        except Exception as error:  # the next answer tells whether it matters
            self._deliver(error)

    def _dream(self, chunk: ActionChunk) -> None:
        video = self._policy.imagined()
        if video is not None:
            self._deliver(Dream(chunk, video))
