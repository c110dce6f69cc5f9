# SPDX-License-Identifier: Apache-2.0
"""A policy on a slower machine: every answer is held back."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.wrapper import PolicyWrapper

POLL_S = 0.002
"""Time between two looks at the clock, which may be a simulated one [s]."""


class DelayedPolicy(PolicyWrapper):
    """Answers as another policy, but never sooner than some time after it was asked.

    Args:
        policy: What answers.
        delay_s: Time from question to answer, at least [s].
        now_ns: Time now on the clock by which the robot lives [ns, ROS clock].
    """

    def __init__(self, policy: Policy, delay_s: float, now_ns: Callable[[], int]) -> None:
        super().__init__(policy, f"answers {delay_s:g} s after it was asked")
        self._delay_ns = round(delay_s * 1e9)
        self._now_ns = now_ns
        self._interrupted = threading.Event()

    def infer(self, frame: Frame) -> ActionChunk:
        """The policy's chunk, once it is time; at once after `interrupt`."""
        until_ns = self._now_ns() + self._delay_ns
        chunk = self._policy.infer(frame)
        while self._now_ns() < until_ns and not self._interrupted.wait(POLL_S):
            pass
        return chunk

    def interrupt(self) -> None:
        """Ends the wait of the answer under way, and waits no more."""
        self._interrupted.set()
        super().interrupt()
