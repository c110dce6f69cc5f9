# SPDX-License-Identifier: Apache-2.0
"""The two clocks of a recording: that of its log and that of its stamps.

A recorder writes down when a message came, a driver when it measured. Where both read one clock, messages are
played when they came. A recorder on wall time beside a simulation, or beside drivers on TAI, reads another:
then the newest stamp of the robot's observations tells the time, and between two of them it passes evenly.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from dreamzero_ros.evaluation.times import JUMP_NS

LOG, STAMPS = "log", "stamps"
"""What a recording is played on."""
SILENCE_NS = 60_000_000_000
"""A longer time without a message of the robot is no part of an episode [ns]."""


class NewestStamp:
    """The newest stamp so far; it begins anew where stamps go back by more than `JUMP_NS`."""

    def __init__(self) -> None:
        self.ns = 0
        """The stamp [ns]; 0 before the first."""
        self.restarted = False
        """Whether the last message made it begin anew."""

    def take(self, stamp_ns: int) -> int:
        """Takes the stamp of the next message, 0 for none; returns the newest [ns]."""
        self.restarted = 0 < stamp_ns < self.ns - JUMP_NS
        if stamp_ns > self.ns or self.restarted:
            self.ns = stamp_ns
        return self.ns


class Clock:
    """Turns log times into times of the clock that a recording is played on, and back.

    Args:
        logged: Log time and stamp [ns] of observations in log order; empty: it is played on that of its log.
        end_ns: Log time of the end of what is played [ns]: where stamps go back later than that, it ends.
    """

    def __init__(self, logged: Iterable[tuple[int, int]] = (), end_ns: int = 0) -> None:
        self._logged, self._played = array("q"), array("q")
        newest = NewestStamp()
        for log_ns, stamp_ns in logged:
            before_ns, now_ns = newest.ns, newest.take(stamp_ns)
            if newest.restarted and log_ns > end_ns:
                break
            if newest.restarted:
                del self._logged[:], self._played[:]
            if self._logged and self._logged[-1] == log_ns:
                self._played[-1] = now_ns
            elif now_ns != before_ns:
                self._logged.append(log_ns)
                self._played.append(now_ns)

    @property
    def end_ns(self) -> int | None:
        """Log time up to which it is known [ns]; None: always."""
        return self._logged[-1] if self._logged else None

    def at(self, log_ns: int) -> int:
        """The time at which something that was logged then came [ns]; the first stamp before there is one."""
        if not self._logged:
            return log_ns
        after = bisect_right(self._logged, log_ns)
        if after in (0, len(self._logged)):
            return self._played[min(after, len(self._logged) - 1)]
        begin_ns, end_ns = self._logged[after - 1], self._logged[after]
        start_ns, stop_ns = self._played[after - 1], self._played[after]
        return start_ns + (stop_ns - start_ns) * (log_ns - begin_ns) // (end_ns - begin_ns)

    def logged(self, time_ns: int) -> int:
        """Log time of the first observation that came at a time or later [ns]."""
        if not self._logged:
            return time_ns
        return self._logged[min(bisect_left(self._played, time_ns), len(self._logged) - 1)]


LOG_CLOCK = Clock()
"""That of the log."""


class Stretches:
    """Finds where messages follow one another, in log times.

    A stretch ends where nothing comes for longer than `SILENCE_NS`: there the recorder was paused, its clock
    was set, or a single message bears a wrong time. On the clock of stamps it also ends where they go back.
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        """Log times of the first and last message of each [ns]."""
        self._newest = NewestStamp()

    def add(self, log_ns: int, stamp_ns: int = 0) -> None:
        """Takes the next message; without a stamp its log time alone counts."""
        before_ns, now_ns = self._newest.ns, self._newest.take(stamp_ns)
        pauses = self.found and log_ns - self.found[-1][1] > SILENCE_NS
        jumps = before_ns and (self._newest.restarted or now_ns - before_ns > SILENCE_NS)
        if not self.found or pauses or jumps:
            self.found.append((log_ns, log_ns))
        self.found[-1] = (self.found[-1][0], log_ns)


def recorded_ns(
    log_times: Iterable[tuple[str, int]], whole: tuple[int, int], robot: tuple[int, int]
) -> tuple[int, int]:
    """Log times of begin and end of a recording, without what lies far from the robot's messages [ns].

    Args:
        log_times: Topic and log time [ns] of all messages in order; looked at only where something lies far.
        whole: Of the first and last message of any topic.
        robot: Of the first and last message of the robot.
    """
    begin_ns, end_ns = whole
    if robot[0] - begin_ns <= SILENCE_NS and end_ns - robot[1] <= SILENCE_NS:
        return whole
    stretches = Stretches()
    for _, log_ns in log_times:
        stretches.add(log_ns)
    inside = [stretch for stretch in stretches.found if stretch[1] >= robot[0] and stretch[0] <= robot[1]]
    return (inside[0][0], inside[-1][1]) if inside else robot
