# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the messages of a stream, counted: the one judgement of live, offline and preflight.

A message is *used*, *refused* (with an `ObservationError`), or *foreign*: on the topic, but of something else
than this robot. A used message can give rise to a *remark*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class ObservationError(ValueError):
    """A message that cannot be used; the text names the topic, what was expected and got, and what to do."""

    def __init__(self, topic: str, expected: str, got: str, fix: str) -> None:
        super().__init__(f"{topic}: expected {expected}, got {got}; {fix}")
        self.topic = topic
        self.expected = expected
        self.got = got
        self.fix = fix


@dataclass
class Finding:
    """One kind of thing that was found in some messages of a stream."""

    got: str
    """What the first of these messages held, in words."""
    fix: str
    """What to do about it."""
    count: int = 0
    """Messages in which it was found."""


def commonest(findings: Mapping[str, Finding]) -> tuple[str, Finding] | None:
    """Of findings by kind, that of the most messages; None without any."""
    return max(findings.items(), key=lambda item: item[1].count, default=None)


@dataclass
class Judgement:
    """What was found in the messages of one stream so far."""

    received: int = 0
    """Messages on the topic."""
    foreign: int = 0
    """Of them, of something else than this robot; no fault."""
    refusals: dict[str, Finding] = field(default_factory=dict)
    """Messages that cannot be used, by what was expected of them; each message counts once."""
    remarks: dict[str, Finding] = field(default_factory=dict)
    """Things worth knowing about messages that are used, by kind; a message may count for several kinds."""

    @property
    def own(self) -> int:
        """Messages of this robot."""
        return self.received - self.foreign

    @property
    def refused(self) -> int:
        """Messages of this robot that cannot be used."""
        return sum(finding.count for finding in self.refusals.values())

    @property
    def used(self) -> int:
        """Messages of this robot that can be used."""
        return self.own - self.refused

    def refuse(self, error: ObservationError) -> None:
        """Counts a message that cannot be used."""
        self.refusals.setdefault(error.expected, Finding(error.got, error.fix)).count += 1

    def remark(self, kind: str, got: str, fix: str) -> None:
        """Counts a message that is used, and what is worth knowing about it."""
        self.remarks.setdefault(kind, Finding(got, fix)).count += 1

    def sentences(self) -> list[str]:
        """Refusals and remarks in words, each with its count and what to do."""
        refused = [
            f"{found.count} of {self.own} messages cannot be used, the first: "
            f"expected {kind}, got {found.got}; {found.fix}"
            for kind, found in self.refusals.items()
        ]
        remarked = [
            f"{found.count} of {self.own} messages: {kind}, the first: {found.got}; {found.fix}"
            for kind, found in self.remarks.items()
        ]
        return refused + remarked
