# SPDX-License-Identifier: Apache-2.0
"""The first pass over a bag: what is in it, what of it is used, and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.bag import Bag, Logged, Topic
from dreamzero_ros.evaluation.clock import LOG, SILENCE_NS, STAMPS, Stretches, recorded_ns
from dreamzero_ros.evaluation.commands import Commands
from dreamzero_ros.evaluation.content import Content, Images, JointStates
from dreamzero_ros.evaluation.description import described
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.frames import Frames
from dreamzero_ros.evaluation.streams import Kind, Stream
from dreamzero_ros.evaluation.times import Times
from dreamzero_ros.observation.buffer import JOINT_STATES
from dreamzero_ros.policy.settings import RolloutSettings

_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class StreamReport:
    """What a stream of the robot finds in the bag."""

    stream: Stream
    """What was looked for."""
    topic: Topic | None
    """What the bag has under the name of the topic."""
    times: Times
    """When, of the messages that can be used; commands count by log time, their stamp may be 0 for "now"."""
    content: str
    """In words: size and encoding, or joints."""
    problems: tuple[BagError, ...]
    """Why the stream cannot be used; empty where it can."""
    notices: tuple[str, ...]
    """What is worth knowing."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a bag holds for a robot."""

    streams: tuple[StreamReport, ...]
    """In the order of the robot file: cameras, joint states, controllers."""
    unused: tuple[Topic, ...]
    """Topics that no stream uses; their messages are never decoded."""
    problems: tuple[BagError, ...]
    """Why the bag cannot be used; empty where it can."""
    notices: tuple[str, ...]
    """What is worth knowing, of the files and of all streams."""
    common_ns: tuple[int, int]
    """First and last stamp at which all cameras and the joint states are there [ns]; (0, 0) for none."""
    recorded_ns: tuple[int, int]
    """Log times of begin and end, without what lies far from the robot's messages [ns]."""
    clock: str
    """`LOG` or `STAMPS`: what it is played on."""
    frames: tuple[int, int]
    """At how many images there is a frame, and images of all cameras."""

    @property
    def usable(self) -> bool:
        """Whether frames can be made of the bag."""
        return not self.problems


def inspect(
    bag: Bag,
    embodiment: Embodiment,
    streams: Sequence[Stream],
    progress: Callable[[Iterable[Logged]], Iterable[Logged]] = iter,
    max_age_s: float = RolloutSettings.max_observation_age_s,
) -> Inspection:
    """Reads a bag once from front to back.

    Args:
        bag: The recording.
        embodiment: The robot.
        streams: Its streams, on topics of the bag.
        progress: Is given the messages and passes them on.
        max_age_s: Oldest that observations may be for a frame [s].

    Raises:
        BagError: The bag is damaged.
    """
    used = {stream.topic for stream in streams}
    robot, _, _ = described(bag, embodiment)  # the player judges by its limits, too
    watches = [_Watch(bag, robot, stream, used) for stream in streams]
    by_topic = {watch.stream.topic: watch for watch in watches if watch.readable}
    frames = {clock: Frames(robot, max_age_s, clock) for clock in (LOG, STAMPS)}
    stretches = Stretches()
    for logged in progress(bag.messages(by_topic.keys())):
        watch = by_topic[logged.topic]
        known_ns = watch.add(logged)
        stretches.add(logged.log_ns)
        if watch.stream.required and known_ns is not None:
            for each in frames.values():
                each.add(watch.stream.name, known_ns, logged.log_ns)
    whole_ns = bag.start_ns, bag.end_ns
    longest_ns = max(stretches.found, key=lambda stretch: stretch[1] - stretch[0], default=whole_ns)
    recorded = recorded_ns(bag.log_times(bag.topics), whole_ns, longest_ns)
    reports = tuple(watch.report(recorded[0]) for watch in watches)
    problems = [problem for report in reports if report.stream.required for problem in report.problems]
    common_ns = _common_ns(reports)
    clock = STAMPS if 2 * frames[LOG].possible < frames[STAMPS].possible else LOG
    played = frames[clock]
    if not problems and common_ns == (0, 0):
        problems.append(_apart(bag, reports))
    if not problems and not played.possible:
        problems.append(_no_frame(bag, reports, frames[LOG].reason, max_age_s))
    return Inspection(
        streams=reports,
        unused=tuple(topic for name, topic in bag.topics.items() if name not in used),
        problems=tuple(problems),
        notices=(
            *bag.notes,
            *_log_notices(whole_ns, recorded, stretches.found),
            *(_clock_notices(reports) if clock == STAMPS and not problems else ()),
            *(_few_frames(played) if not problems else ()),
            *(notice for report in reports for notice in _notices(report)),
        ),
        common_ns=common_ns,
        recorded_ns=recorded,
        clock=clock,
        frames=(played.possible, played.asked),
    )


def _log_notices(
    whole_ns: tuple[int, int], recorded_ns: tuple[int, int], stretches: Sequence[tuple[int, int]]
) -> Iterator[str]:
    before_s, after_s = (recorded_ns[0] - whole_ns[0]) / _NS, (whole_ns[1] - recorded_ns[1]) / _NS
    if before_s or after_s:
        apart = " and ".join(
            f"{_duration(seconds)} {side}"
            for seconds, side in ((before_s, "before"), (after_s, "after"))
            if seconds
        )
        yield f"some messages were logged {apart} the robot's: they take no part, a clock was set or is wrong"
    if len(stretches) > 1:
        lie = f"the robot's messages lie in {len(stretches)} stretches"
        yield f"{lie}, more than {SILENCE_NS // _NS} s apart: no episode spans two of them"


def _clock_notices(reports: Sequence[StreamReport]) -> Iterator[str]:
    delay_s = min((r.times.least_delay_ns for r in reports if r.stream.required), key=abs) / _NS
    off = f"{_duration(abs(delay_s))} {'before' if delay_s > 0 else 'after'} the log times"
    live = "a running node takes such messages only if its clock is theirs (use_sim_time, or synchronised)"
    yield f"stamps are {off}: the bag is played on the clock of its stamps; {live}"


def _few_frames(frames: Frames) -> Iterator[str]:
    if 2 * frames.possible < frames.asked:
        none = f"no frame at {frames.asked - frames.possible} of {frames.asked} images"
        yield f"{none}; most often: {frames.reason}"


def _no_frame(bag: Bag, reports: Sequence[StreamReport], reason: str, max_age_s: float) -> BagError:
    """Names the streams whose stamps are off, or else what the buffer misses."""
    delays_ns = {r.stream.topic: r.times.least_delay_ns for r in reports if r.stream.required}
    typical_ns = sorted(delays_ns.values())[len(delays_ns) // 2]
    off_ns = {topic: delay_ns - typical_ns for topic, delay_ns in delays_ns.items()}
    off = [
        f"{topic} {_duration(abs(by_ns) / _NS)} {'behind' if by_ns > 0 else 'ahead'}"
        for topic, by_ns in off_ns.items()
        if abs(by_ns) > max_age_s * _NS
    ]
    got = f"stamps that are apart: {', '.join(off)}" if off else reason
    fix = (
        "let all drivers stamp with one clock: TAI is 37 s ahead of UTC, some cameras count from their start"
    )
    return BagError(bag.path, "frames", "a moment at which all streams are fresh", got, fix)


def _duration(seconds: float) -> str:
    """A time of any size, for people."""
    for unit, length in (("years", 365.25 * 86400), ("days", 86400), ("h", 3600)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2f} s"


def _notices(report: StreamReport) -> Iterator[str]:
    if not report.stream.required:
        yield from (f"commands are not used: {problem}" for problem in report.problems)
    yield from report.notices


def _common_ns(reports: Sequence[StreamReport]) -> tuple[int, int]:
    needed = [report.times for report in reports if report.stream.required and report.times.stamped]
    begin = max((times.first_ns for times in needed), default=0)
    end = min((times.last_ns for times in needed), default=0)
    return (begin, end) if begin < end else (0, 0)


def _apart(bag: Bag, reports: Sequence[StreamReport]) -> BagError:
    needed = [report for report in reports if report.stream.required]
    latest = max(needed, key=lambda report: report.times.first_ns)
    earliest = min(needed, key=lambda report: report.times.last_ns)
    apart_s = (latest.times.first_ns - earliest.times.last_ns) / _NS
    got = f"{latest.stream.topic} beginning {apart_s:.1f} s after the end of {earliest.stream.topic}"
    fix = "let all drivers stamp with one clock, or record all topics together"
    return BagError(bag.path, "stamps", "a time at which all streams are there", got, fix)


class _Watch:
    """Follows one stream through the bag."""

    def __init__(self, bag: Bag, embodiment: Embodiment, stream: Stream, taken: Collection[str]) -> None:
        self.stream = stream
        self._bag = bag
        self._taken = taken
        self._topic = bag.topics.get(stream.topic)
        self._count = 0
        self._times = Times(_gap_ns(embodiment, stream.kind))
        self._content: Content = _content(bag, embodiment, stream)

    @property
    def readable(self) -> bool:
        """Whether the bag has the topic, with a type that is read."""
        return self._topic is not None and self._topic.type in self.stream.kind.value

    def add(self, logged: Logged) -> int | None:
        """Takes the next message; returns what its content does."""
        self._count += 1
        known_ns = self._content.add(logged)
        if known_ns is not None:
            self._times.add(known_ns, logged.log_ns)
        return known_ns

    def report(self, begin_ns: int) -> StreamReport:
        """What was found; times are said from the begin of the recording on [ns]."""
        missing = self._missing()
        problems = [missing] if missing else self._content.problems()
        if self._times.count and not self._times.stamped:
            problems.append(self._unstamped())
        return StreamReport(
            stream=self.stream,
            topic=self._topic,
            times=self._times,
            content="" if missing else self._content.words(),
            problems=tuple(problems),
            notices=() if missing else tuple(self._remarks(begin_ns)),
        )

    def _missing(self) -> BagError | None:
        """Why there is nothing to look at."""
        stream, topic = self.stream, self._topic
        types = " or ".join(stream.kind.value)
        if topic is None:
            return self._error(f"topic {stream.topic}", "none of that name", self._elsewhere())
        if not self.readable:
            return self._error(f"messages of {types} on {stream.topic}", topic.type, self._elsewhere())
        if not self._count:
            fix = "look whether the quality of service of the recorder fits that of the publisher"
            got = "none" if not topic.count else f"none of the {topic.count} that the bag announces"
            return self._error(f"messages on {stream.topic}", got, fix)
        return None

    def _elsewhere(self) -> str:
        """What to do: name another topic of the right type that no stream uses, the most alike first."""
        stream, types = self.stream, self.stream.kind.value
        fits = [t.name for t in self._bag.topics.values() if t.type in types and t.name not in self._taken]
        if not fits:
            return f"record it, the bag has no other {' or '.join(types)}"
        fits.sort(key=lambda name: -max(_alike(name, stream.topic), _alike(name, stream.name)))
        names = ", ".join(fits[1:4])
        return f"try --topic {stream.name}:={fits[0]}" + (f" (there are also {names})" if names else "")

    def _error(self, expected: str, got: str, fix: str) -> BagError:
        return BagError(self._bag.path, self.stream.name, expected, got, fix)

    def _unstamped(self) -> BagError:
        fix = "let the driver fill in header.stamp"
        return self._error("stamps in the headers", f"none in {self._count} messages", fix)

    def _remarks(self, begin_ns: int) -> Iterator[str]:
        times, topic, name = self._times, self._topic, self.stream.topic
        yield from (f"{name}: {notice}" for notice in self._content.notices())
        if topic and topic.count != self._count:
            yield f"{name}: {self._count} messages, though the bag announces {topic.count}"
        if times.unset and times.stamped:
            yield f"{name}: {times.unset} of {times.count} messages have no stamp"
        if times.gaps:
            at_s = (times.longest_at_ns - begin_ns) / _NS
            yield (
                f"{name}: {times.gaps} x no message for more than {times.gap_ns / 1e6:.0f} ms, so no frame; "
                f"the longest for {times.longest_ns / _NS:.2f} s, after {at_s:.1f} s"
            )
        if times.backward:
            yield f"{name}: {times.backward} x a stamp is earlier than those before"
        if times.jumps:
            at_s = (times.jump_at_ns - begin_ns) / _NS
            yield f"{name}: {times.jumps} x a clock jumps (stamp against log time), first after {at_s:.1f} s"


def _gap_ns(embodiment: Embodiment, kind: Kind) -> int:
    """Longest time between messages without a moment that is too far from all of them [ns]."""
    tolerance_s = {
        Kind.CAMERA: embodiment.image_tolerance_s,
        Kind.JOINT_STATES: embodiment.joint_tolerance_s,
        Kind.COMMANDS: float("inf"),
    }[kind]
    return round(2 * tolerance_s * _NS) if tolerance_s < float("inf") else 2**63


def _content(bag: Bag, embodiment: Embodiment, stream: Stream) -> Content:
    if stream.kind is Kind.CAMERA:
        return Images(bag.path, stream)
    if stream.name == JOINT_STATES:
        return JointStates(bag.path, stream, embodiment)
    (joints,) = (c.joints for c in embodiment.controllers if c.name == stream.name)
    return Commands(bag, stream, joints)


def _alike(name: str, other: str) -> float:
    """From 0 to 1."""
    return SequenceMatcher(None, name, other).ratio()
