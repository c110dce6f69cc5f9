# SPDX-License-Identifier: Apache-2.0
"""Times of one stream: rate, gaps, clocks. Memory does not grow with the number of messages.

A stamp that is earlier than the newest before it by more than `JUMP_NS` begins anew: a clock was set back, or
a simulation started again.
"""

from __future__ import annotations

JUMP_NS = 1_000_000_000
"""Change of the time between stamp and log, from one message to the next, that is called a jump [ns]."""


class Times:
    """Follows the messages of a stream.

    Args:
        gap_ns: A longer time without a message is a gap [ns].
    """

    def __init__(self, gap_ns: int) -> None:
        self.gap_ns = gap_ns
        self.count = 0
        """Messages."""
        self.unset = 0
        """Of them, without a stamp; they take no part in what follows."""
        self.first_ns = self.last_ns = 0
        """Earliest and latest stamp [ns]."""
        self.gaps = 0
        """Times from the newest stamp to the next newer one that are longer than `gap_ns`."""
        self.longest_ns = self.longest_at_ns = 0
        """The longest time without a message, and the log time at which it began [ns]."""
        self.backward = 0
        """Messages with an earlier stamp than the newest before them."""
        self.jumps = 0
        """Times that the clock of the stamps moved against that of the log by more than `JUMP_NS`."""
        self.jump_at_ns = 0
        """Log time of the first of them [ns]."""
        self.least_delay_ns = self.most_delay_ns = 0
        """Log time minus stamp, the least and the most [ns]."""
        self._delay_ns = self._newest_ns = self._newest_log_ns = 0

    @property
    def stamped(self) -> int:
        """Messages with a stamp."""
        return self.count - self.unset

    @property
    def rate_hz(self) -> float:
        """Mean rate by the stamps [1/s]; 0 for fewer than two."""
        span_ns = self.last_ns - self.first_ns
        return 1e9 * (self.stamped - 1) / span_ns if span_ns > 0 else 0.0

    def add(self, stamp_ns: int, log_ns: int) -> None:
        """Takes the next message; stamp 0 means that it has none."""
        self.count += 1
        if stamp_ns == 0:
            self.unset += 1
            return
        delay_ns = log_ns - stamp_ns
        if self.stamped == 1:
            self.first_ns = self.last_ns = stamp_ns
            self.least_delay_ns = self.most_delay_ns = delay_ns
            self._newest_ns, self._newest_log_ns = stamp_ns, log_ns
        else:
            self._follow(stamp_ns, log_ns, delay_ns)
        self._delay_ns = delay_ns

    def _follow(self, stamp_ns: int, log_ns: int, delay_ns: int) -> None:
        if abs(delay_ns - self._delay_ns) > JUMP_NS:
            self.jump_at_ns = self.jump_at_ns or log_ns
            self.jumps += 1
        interval_ns = stamp_ns - self._newest_ns
        self.backward += interval_ns < 0
        self.gaps += interval_ns > self.gap_ns
        if interval_ns > self.longest_ns:
            self.longest_ns, self.longest_at_ns = interval_ns, self._newest_log_ns
        if interval_ns >= 0 or interval_ns < -JUMP_NS:
            self._newest_ns, self._newest_log_ns = stamp_ns, log_ns
        self.first_ns, self.last_ns = min(self.first_ns, stamp_ns), max(self.last_ns, stamp_ns)
        self.least_delay_ns = min(self.least_delay_ns, delay_ns)
        self.most_delay_ns = max(self.most_delay_ns, delay_ns)
