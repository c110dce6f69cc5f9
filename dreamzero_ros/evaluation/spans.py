# SPDX-License-Identifier: Apache-2.0
"""Which stretches of a bag are episodes: between gaps, as a topic or a list says, or all of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.streams import Stream

TEXT = "std_msgs/msg/String"
"""Type of the topic that says what the robot was asked to do."""

_NS = 1_000_000_000

_LINE = re.compile(r"([^\s,]+)[\s,]+([^\s,]+)(?:[\s,]+(.*))?")
"""Of a list: two times, and the rest."""

_Stretch = tuple[int, int]
"""Log times of begin and end [ns]."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One episode of a bag."""

    number: int
    """Of the episode within the bag, from 0."""
    start_ns: int
    """Log time of the begin [ns]."""
    end_ns: int
    """Log time of the end [ns]."""
    instruction: str
    """What the robot was asked to do."""


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
    instruction, separated by commas or blanks; what follows a # is a remark."""
    shortest_s: float = 2.0
    """Shorter ones are left out [s]; those of a list are not."""

    def __post_init__(self) -> None:
        given = [name for name in ("gap_s", "topic", "times") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"episodes: expected one of gap_s, topic and times, got {' and '.join(given)}")


def spans(bag: Bag, streams: Sequence[Stream], split: Split) -> tuple[Span, ...]:
    """The episodes of a bag, in order.

    Args:
        bag: The recording.
        streams: What the robot needs of it.
        split: How it is cut.

    Raises:
        BagError: There is no episode, or one without an instruction; or the bag is damaged.
        ValueError: The list of times cannot be read; names file and line.
    """
    found = list(_found(bag, streams, split))
    if not found:
        expected = f"an episode of {split.shortest_s:g} s or more"
        raise BagError(bag.path, "episodes", expected, "none", "allow for shorter ones or for longer gaps")
    made = tuple(
        Span(number=number, start_ns=start_ns, end_ns=end_ns, instruction=text.strip() or split.instruction)
        for number, (start_ns, end_ns, text) in enumerate(found)
    )
    for span in made:
        if not span.instruction.strip():
            what = f"episode {span.number}"
            fix = "say in words what the robot was asked to do"
            raise BagError(bag.path, what, "an instruction", "none", fix)
    return made


def _found(bag: Bag, streams: Sequence[Stream], split: Split) -> Iterator[tuple[int, int, str]]:
    """Begin and end [ns], and the instruction where it is said."""
    if split.times is not None:
        yield from _listed(bag, split.times)
        return
    if split.topic is not None:
        found = _told(bag, split.topic)
    elif split.gap_s is not None:
        found = ((*stretch, "") for stretch in _unbroken(bag, streams, split.gap_s))
    else:
        found = iter([(bag.start_ns, bag.end_ns, "")])
    yield from (entry for entry in found if entry[1] - entry[0] >= split.shortest_s * _NS)


def _unbroken(bag: Bag, streams: Sequence[Stream], gap_s: float) -> list[_Stretch]:
    """The times during which no required stream pauses for longer than `gap_s`."""
    topics = {stream.topic for stream in streams if stream.required}
    last_ns: dict[str, int] = {}
    begun_ns: dict[str, int] = {}
    runs: dict[str, list[_Stretch]] = {topic: [] for topic in topics}
    for topic, log_ns in bag.log_times(topics):
        if topic in last_ns and log_ns - last_ns[topic] > gap_s * _NS:
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


def _listed(bag: Bag, path: Path) -> Iterator[tuple[int, int, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a list of times, got {error}") from error
    length_s = (bag.end_ns - bag.start_ns) / _NS
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        begin_s, end_s, text = _entry(content, f"{path}, line {number}")
        if not 0 <= begin_s < end_s <= length_s:
            expected = f"0 <= begin < end <= {length_s:.3f} s, the length of the bag"
            raise ValueError(f"{path}, line {number}: expected {expected}, got {begin_s:g} and {end_s:g}")
        yield bag.start_ns + round(begin_s * _NS), bag.start_ns + round(end_s * _NS), text


def _entry(content: str, where: str) -> tuple[float, float, str]:
    match = _LINE.fullmatch(content)
    try:
        begin_s, end_s = (float(match[1]), float(match[2])) if match else (math.nan, math.nan)
    except ValueError:
        begin_s = end_s = math.nan
    if match is None or not math.isfinite(begin_s) or not math.isfinite(end_s):
        raise ValueError(f"{where}: expected begin, end [s] and an instruction, got {content!r}")
    return begin_s, end_s, (match[3] or "").strip('"')
