# SPDX-License-Identifier: Apache-2.0
"""A policy whose chunks somebody else must approve before they are given out."""

from __future__ import annotations

import dataclasses
import time
from typing import Protocol

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.wrapper import PolicyWrapper

STAGE = "validity"
"""Name of the time that approval takes among the latencies of a chunk."""


class Validator(Protocol):
    """Approves chunks."""

    name: str
    """Who approves, for people."""

    def check(self, chunk: ActionChunk) -> None:
        """Returns when the chunk may be executed.

        Raises:
            MotionError: It must not be executed, or nobody knows; says why.
        """

    def interrupt(self) -> None:
        """The check under way, and every later one, ends at once by refusing. Called from another thread."""

    def close(self) -> None:
        """Frees what the validator holds."""


class ValidatedPolicy(PolicyWrapper):
    """Answers as another policy, with chunks that were approved; the time that this takes is latency.

    Args:
        policy: What answers.
        validator: Approves; closed with the policy.
    """

    def __init__(self, policy: Policy, validator: Validator) -> None:
        super().__init__(policy, f"checked by {validator.name}")
        self._validator = validator

    def infer(self, frame: Frame) -> ActionChunk:
        """The policy's chunk, approved.

        Raises:
            ValueError: As the policy.
            MotionError: The chunk was not approved.
        """
        chunk = self._policy.infer(frame)
        begin_s = time.perf_counter()
        self._validator.check(chunk)
        latency_s = {**chunk.latency_s, STAGE: time.perf_counter() - begin_s}
        return dataclasses.replace(chunk, latency_s=latency_s)

    def interrupt(self) -> None:
        """Ends policy and approval."""
        super().interrupt()
        self._validator.interrupt()

    def close(self) -> None:
        """Closes policy and validator."""
        super().close()
        self._validator.close()
