# SPDX-License-Identifier: Apache-2.0
"""Which stretches of a bag are episodes: between gaps, as a topic or a list says, or all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.clock import LOG, LOG_CLOCK, STAMPS, Clock, Stretches, recorded_ns
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.streams import Stream
from dreamzero_ros.evaluation.times_list import read_times

TEXT = "std_msgs/msg/String"
"""Type of the topic that says what the robot was asked to do."""

SECOND_NS = 1_000_000_000
AROUND_NS = 60 * SECOND_NS
"""How much of what was logged before and after an episode is looked at with it [ns]: commands of before that
are still in force, and what is commanded when its last targets are due."""

_Stretch = tuple[int, int]
"""Log times of begin and end [ns]."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One episode of a bag."""

    number: int
    """Of the episode within the bag, from 0."""
    start_ns: int
    """Begin on the clock that the bag is played on [ns]."""
    end_ns: int
    """End on that clock [ns]."""
    instruction: str
    """What the robot was asked to do."""
    logged_ns: tuple[int, int] | None = None
    """Log times of begin and end where the bag is played on the clock of its stamps [ns]; None: on that of
    its log."""

    def clock(self, bag: Bag, streams: Sequence[Stream]) -> Clock:
        """The clock that the episode is played on, `AROUND_NS` more on either side of it.

        Args:
            bag: The recording.
            streams: What the robot needs of it.

        Raises:
            BagError: The bag is damaged.
        """
        if self.logged_ns is None:
            return LOG_CLOCK
        begin_ns, end_ns = self.logged_ns
        return Clock(bag.stamps(_observed(streams), begin_ns - AROUND_NS, end_ns + AROUND_NS), end_ns)


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a bag is cut into episodes: by one of `gap_s`, `topic` and `times`, else it is one episode."""

    instruction: str = ""
    """What the robot was asked to do, where topic or list do not say it."""
    gap_s: float | None = None
    """A longer time without a message of a camera, or without a joint state, ends an episode [s]."""
    topic: str | None = None
    """Full name of a std_msgs/String topic: each message begins an episode with its text as instruction, an
    empty one ends it."""
    times: Path | None = None
    """File with a line for each episode: begin, end [s after the begin of the bag] and, optionally, the
    instruction, separated by commas, semicolons, tabs or blanks; a line that begins with # is a remark."""
    shortest_s: float = 2.0
    """Shorter ones are left out [s]; those of a list are not."""

    def __post_init__(self) -> None:
        given = [name for name in ("gap_s", "topic", "times") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"episodes: expected one of gap_s, topic and times, got {' and '.join(given)}")


def spans(bag: Bag, streams: Sequence[Stream], split: Split, clock: str = LOG) -> tuple[Span, ...]:
    """The episodes of a bag, in order.

    An episode lies where the robot's own messages follow one another: what was logged at another time, by a
    clock that was set or by another node, does not make it longer.

    Args:
        bag: The recording.
        streams: What the robot needs of it.
        split: How it is cut.
        clock: `LOG` or `STAMPS`: what it is played on.

    Raises:
        BagError: There is no episode, or one without an instruction; or the bag is damaged.
        ValueError: The list of times cannot be read; names file and line.
    """
    stretches = _stretches(bag, streams, clock)
    found = list(_found(bag, streams, split, stretches))
    if not found:
        expected = f"an episode of {split.shortest_s:g} s or more"
        raise BagError(bag.path, "episodes", expected, "none", "allow for shorter ones or for longer gaps")
    made = []
    for number, (start_ns, end_ns, text) in enumerate(found):
        instruction = text.strip() or split.instruction
        if not instruction.strip():
            fix = "say in words what the robot was asked to do"
            raise BagError(bag.path, f"episode {number}", "an instruction", "none", fix)
        span = Span(number=number, start_ns=start_ns, end_ns=end_ns, instruction=instruction)
        if clock == STAMPS:
            span = replace(span, logged_ns=(start_ns, end_ns))
            times = span.clock(bag, streams)
            span = replace(span, start_ns=times.at(start_ns), end_ns=times.at(end_ns))
        made.append(span)
    return tuple(made)


def _observed(streams: Sequence[Stream]) -> set[str]:
    return {stream.topic for stream in streams if stream.required}


def _stretches(bag: Bag, streams: Sequence[Stream], clock: str) -> list[_Stretch]:
    """Where the robot's messages follow one another."""
    stretches = Stretches()
    if clock == STAMPS:
        for log_ns, stamp_ns in bag.stamps(_observed(streams)):
            stretches.add(log_ns, stamp_ns)
    else:
        for _, log_ns in bag.log_times({stream.topic for stream in streams}):
            stretches.add(log_ns)
    return stretches.found


def _found(
    bag: Bag, streams: Sequence[Stream], split: Split, stretches: Sequence[_Stretch]
) -> Iterator[tuple[int, int, str]]:
    """Log times of begin and end [ns], and the instruction where it is said."""
    if split.times is not None:
        yield from _listed(bag, split.times, stretches)
        return
    if split.topic is not None:
        told = _told(bag, split.topic)
    elif split.gap_s is not None:
        told = ((*stretch, "") for stretch in _unbroken(bag, _observed(streams), split.gap_s))
    else:
        told = ((*stretch, "") for stretch in stretches)
    for start_ns, end_ns, text in told:
        for begin_ns, stop_ns in _intersected([(start_ns, end_ns)], stretches):
            if stop_ns - begin_ns >= split.shortest_s * SECOND_NS:
                yield begin_ns, stop_ns, text


def _unbroken(bag: Bag, topics: Collection[str], gap_s: float) -> list[_Stretch]:
    """The times during which no required stream pauses for longer than `gap_s`."""
    last_ns: dict[str, int] = {}
    begun_ns: dict[str, int] = {}
    runs: dict[str, list[_Stretch]] = {topic: [] for topic in topics}
    for topic, log_ns in bag.log_times(topics):
        if topic in last_ns and log_ns - last_ns[topic] > gap_s * SECOND_NS:
            runs[topic].append((begun_ns[topic], last_ns[topic]))
            begun_ns[topic] = log_ns
        begun_ns.setdefault(topic, log_ns)
        last_ns[topic] = log_ns
    for topic in last_ns:
        runs[topic].append((begun_ns[topic], last_ns[topic]))
    common = [(bag.start_ns, bag.end_ns)]
    for stretches in runs.values():
        common = list(_intersected(common, stretches))
    return common


def _intersected(one: Sequence[_Stretch], other: Sequence[_Stretch]) -> Iterator[_Stretch]:
    for a_ns, b_ns in one:
        for c_ns, d_ns in other:
            if max(a_ns, c_ns) < min(b_ns, d_ns):
                yield max(a_ns, c_ns), min(b_ns, d_ns)


def _told(bag: Bag, topic: str) -> Iterator[tuple[int, int, str]]:
    """From each text to the next."""
    texts = [name for name, entry in bag.topics.items() if entry.type == TEXT]
    if topic not in texts:
        known = nearest(topic, texts) if texts else "the bag has none of this type"
        raise BagError(bag.path, topic, f"a topic of type {TEXT}", "none of that name", known)
    said = [(logged.log_ns, str(logged.message.data)) for logged in bag.messages([topic])]
    for (start_ns, text), (end_ns, _) in pairwise([*said, (bag.end_ns, "")]):
        if text.strip():
            yield start_ns, end_ns, text


def _listed(bag: Bag, path: Path, stretches: Sequence[_Stretch]) -> Iterator[tuple[int, int, str]]:
    """What a list says, exactly."""
    if not stretches:
        return
    robot = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
    begin_ns, end_ns = recorded_ns(bag.log_times(bag.topics), (bag.start_ns, bag.end_ns), robot)
    length_s = (end_ns - begin_ns) / SECOND_NS
    for entry in read_times(path):
        if not 0 <= entry.begin_s < entry.end_s <= length_s:
            expected = f"0 <= begin < end <= {length_s:.3f} s, the length of the bag"
            got = f"{entry.begin_s:g} and {entry.end_s:g}"
            raise ValueError(f"{path}, line {entry.line}: expected {expected}, got {got}")
        times_ns = (begin_ns + round(time_s * SECOND_NS) for time_s in (entry.begin_s, entry.end_s))
        start_ns, stop_ns = times_ns
        yield start_ns, stop_ns, entry.instruction
