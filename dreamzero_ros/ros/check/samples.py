# SPDX-License-Identifier: Apache-2.0
"""What was heard of one stream, and the judgement of its rate and its stamps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.ros.check.rows import Row, failed, passed, warned

NS_PER_S = 1_000_000_000
EPOCH_S = 1_000_000_000
"""Stamps before September 2001 come from a clock that began with the machine or with a simulation [s]."""
FUTURE_S = 0.005
"""Stamps that lie further ahead on arrival show that two clocks differ [s]."""


@dataclass
class Samples:
    """Every message of a stream in the time of listening."""

    heard: list[tuple[int, int]] = field(default_factory=list)
    """Stamp in the header and arrival of each message [ns, ROS clock]."""
    newest: Any = None
    """The newest message."""

    def add(self, message: Any, stamp_ns: int, now_ns: int) -> None:
        """Takes one message."""
        self.heard.append((stamp_ns, now_ns))
        self.newest = message

    def __len__(self) -> int:
        return len(self.heard)

    @property
    def stamps_ns(self) -> list[int]:
        """Capture times in the headers [ns]."""
        return [stamp_ns for stamp_ns, _ in self.heard]

    @property
    def arrivals_ns(self) -> list[int]:
        """Times of arrival [ns]."""
        return [now_ns for _, now_ns in self.heard]

    @property
    def ages_s(self) -> NDArray[np.float64]:
        """(N,) age of each message on arrival [s]."""
        return np.array([now_ns - stamp_ns for stamp_ns, now_ns in self.heard]) / NS_PER_S


def check_rate(what: str, samples: Samples, tolerance_s: float, max_age_s: float) -> Row:
    """Whether messages come often enough.

    Args:
        what: Name of the row.
        samples: At least one.
        tolerance_s: Furthest that a message may lie from the time at which it is wanted [s].
        max_age_s: Age of the newest message at which the arm is stopped [s].
    """
    if len(samples) < 3:
        return failed(what, f"only {len(samples)} messages", "look at the driver: is it streaming?")
    period_s = (samples.arrivals_ns[-1] - samples.arrivals_ns[0]) / NS_PER_S / (len(samples) - 1)
    gap_s = np.diff(np.sort(samples.stamps_ns)).max() / NS_PER_S
    finding = f"{1 / period_s:.1f} Hz, {len(samples)} messages, longest gap {_ms(gap_s)}"
    fix = "raise the rate of the driver; look for losses: config/fastdds.xml, cable, network, load"
    if period_s > 2 * tolerance_s:
        least = f"at least {1 / (2 * tolerance_s):.1f} Hz for a tolerance of {_ms(tolerance_s)}"
        return failed(what, f"{finding}; {least}", fix)
    if gap_s > max_age_s:
        return failed(what, f"{finding}; the arm is stopped after {_ms(max_age_s)}", fix)
    if gap_s > 2 * tolerance_s:
        return warned(what, f"{finding}; the tolerance bridges {_ms(2 * tolerance_s)}", fix)
    return passed(what, finding)


def check_stamps(what: str, samples: Samples, max_age_s: float) -> Row:
    """Whether the stamps are capture times on this clock.

    Args:
        what: Name of the row.
        samples: At least one.
        max_age_s: Age of the newest message at which the arm is stopped [s].
    """
    unset = samples.stamps_ns.count(0)
    if unset:
        fix = "let the driver stamp each message with its capture time"
        return failed(what, f"{unset} of {len(samples)} messages carry no stamp", fix)
    distinct = len(set(samples.stamps_ns))
    if distinct < len(samples) / 2:
        fix = "let the driver stamp each message with its capture time"
        return failed(what, f"{distinct} different stamps in {len(samples)} messages", fix)
    ages_s = samples.ages_s
    median_s = float(np.median(ages_s))
    if abs(median_s) > max_age_s:
        side = "old" if median_s > 0 else "in the future"
        finding = f"{_duration(abs(median_s))} {side} on arrival; the limit is {_ms(max_age_s)}"
        return failed(what, finding, _clock_fix(samples))
    if median_s < -FUTURE_S:
        finding = f"{_ms(-median_s)} in the future on arrival: two clocks differ"
        return warned(what, finding, _clock_fix(samples))
    finding = f"{_ms(median_s)} old on arrival, at most {_ms(ages_s.max())}"
    if ages_s.max() > max_age_s:
        fix = "look for what delays the driver now and then"
        return warned(what, f"{finding}; the limit is {_ms(max_age_s)}", fix)
    return passed(what, finding)


def _clock_fix(samples: Samples) -> str:
    since_s, now_s = samples.stamps_ns[-1] / NS_PER_S, samples.arrivals_ns[-1] / NS_PER_S
    if since_s < EPOCH_S < now_s:
        return "no time of day: use_sim_time:=true for a simulation or a bag, else correct the driver"
    if now_s < EPOCH_S < since_s:
        return "this clock is that of a simulation, the stamps are not: use_sim_time:=false"
    return "synchronise the clocks of both machines (chrony, PTP); a bag wants --clock and use_sim_time:=true"


def _duration(seconds: float) -> str:
    return _ms(seconds) if seconds < 10 else f"{seconds:.0f} s"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
