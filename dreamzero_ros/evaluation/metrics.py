# SPDX-License-Identifier: Apache-2.0
"""What every metric is called, what it means, and how its value follows from what episodes are reduced to.

An episode is reduced to *tallies*: sums with their counts, and a few lists of values. The sums of several
episodes add up to those of all of them, so that pooled values are exact.

Unless a text says otherwise, a metric takes all targets of every chunk, also those that were dropped or came
too late, and leaves out the joints of grippers. What was not recorded, or not answered, is left out; a
baseline counts only where the policy counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Better = Literal["lower", "higher"]

POLICY, HOLD, REPEAT = range(3)
"""Rows of a sum that has baselines: the policy, *hold still*, *repeat the last motion*."""

STEPS = (1, 8, 24)
"""Targets of which errors are shown by themselves, counted from 1."""
SUFFIXES = {"rad": "", "m": "_m", "ratio": "_ratio"}
"""By unit of the joints: how the names of metrics that have a unit end."""

MOVES = {"rad": 0.01, "m": 0.005, "ratio": 0.02}
"""By unit of a joint: how far from its position at capture a motion has a direction."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Tallies:
    """What is left of one episode for its metrics."""

    sums: Mapping[str, Floats]
    """(P, 2) by name: sum and count; P is 3 where there are baselines, else 1."""
    values: Mapping[str, Floats]
    """(N,) by name: values of which percentiles are taken."""

    def content(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "sums": {name: pairs.tolist() for name, pairs in self.sums.items()},
            "values": {name: values.tolist() for name, values in self.values.items()},
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Tallies:
        """Takes back what `content` has given.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        return cls(
            sums={name: np.array(pairs, float).reshape(-1, 2) for name, pairs in content["sums"].items()},
            values={name: np.array(values, float).reshape(-1) for name, values in content["values"].items()},
        )


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a report: the sum of its name divided by its count, or a percentile of values."""

    unit: str
    """Of the value; "ratio" for shares of 1."""
    better: Better | None
    """None where neither is."""
    text: str
    """What it is, in one sentence."""
    root: bool = False
    """The square root is taken last."""
    percentile: float = 50.0
    """In percent; without `values` it has no meaning."""
    values: str = ""
    """Name of the values of which the percentile is taken; empty: the metric is a sum."""

    def known(self, name: str, tallies: Tallies, row: int = POLICY) -> bool:
        """Whether an episode says anything about the metric of this name, for the policy or a baseline."""
        if self.values:
            return self.values in tallies.values and tallies.values[self.values].size > 0
        return name in tallies.sums and bool(tallies.sums[name][row, 1] > 0)


def definitions(units: Collection[str], horizon: int) -> dict[str, Metric]:
    """All metrics by name, in the order of the report.

    Args:
        units: Those of the joints that are no grippers.
        horizon: Targets of a chunk.
    """
    groups = [(unit, suffix) for unit, suffix in SUFFIXES.items() if unit in units]
    errors = {f"{name}{suffix}": m for unit, suffix in groups for name, m in _errors(unit, horizon)}
    motion = {f"{name}{suffix}": m for unit, suffix in groups for name, m in _motion(unit, suffix)}
    return errors | _SHARES | motion | _COUNTS | dict(_times()) | _DREAMS


def _errors(unit: str, horizon: int) -> Iterator[tuple[str, Metric]]:
    steps = [("", "all targets of all chunks")]
    steps += [(f"@{step}", f"target {step} of all chunks") for step in STEPS if step <= horizon]
    for at, which in steps:
        text = f"Root mean square of target minus recorded, over the joints in {unit} and {which}."
        yield f"rmse{at}", Metric(unit=unit, better="lower", text=text, root=True)
    for at, which in steps:
        text = f"Mean absolute difference of target and recorded, over the joints in {unit} and {which}."
        yield f"mae{at}", Metric(unit=unit, better="lower", text=text)
    text = (
        f"Length of the vector of errors of the joints in {unit} at the last target of a chunk, "
        "averaged over chunks."
    )
    yield "final_error", Metric(unit=unit, better="lower", text=text)
    text = (
        f"Root mean square of planned minus recorded over the joints in {unit}: where the smoothed and "
        "limited trajectory is when a target is due, dropped targets left out."
    )
    yield "planned_rmse", Metric(unit=unit, better="lower", text=text, root=True)


def _motion(unit: str, suffix: str) -> Iterator[tuple[str, Metric]]:
    for kind, which in (("raw", "as the policy gave the chunks"), ("spliced", "of the planned trajectories")):
        for quantity, of in (("position", unit), ("velocity", f"{unit}/s")):
            name = f"{kind}_jump_{quantity}"
            text = (
                f"Mean absolute jump of the {quantity} of a joint in {unit} from a chunk to the next, where "
                f"the next begins to be followed, {which}."
            )
            yield name, Metric(unit=of, better="lower", text=text)
            largest, text = f"{name}_max", f"The largest of the jumps of which {name}{suffix} is the mean."
            values = f"{largest}{suffix}"
            yield largest, Metric(unit=of, better="lower", text=text, percentile=100, values=values)
    for kind, which in (("raw", "chunks as the policy gave them"), ("planned", "planned trajectories")):
        text = f"Root mean square jerk of the joints in {unit}, of the {which}."
        yield f"{kind}_jerk", Metric(unit=f"{unit}/s^3", better="lower", text=text, root=True)


def _times() -> Iterator[tuple[str, Metric]]:
    texts = {
        "observation_age": "from the capture of an observation to the command that answers it",
        "latency": "from asking the policy to the command",
        "image_age": "since the capture of the newest image of a camera when the policy is asked",
    }
    for values, words in texts.items():
        for percentile in (50, 90, 99):
            text = f"The time that is not exceeded in {percentile} % of all cases: {words}."
            metric = Metric(unit="s", better="lower", text=text, percentile=percentile, values=values)
            yield f"{values}_p{percentile}", metric


_SHARES = {
    "direction": Metric(
        unit="ratio",
        better="higher",
        text="Share of targets to the side of the measured position at capture that the recorded motion "
        f"takes, of those where it moves a joint by more than {MOVES['rad']} rad or {MOVES['m']} m.",
    ),
    "gripper_accuracy": Metric(
        unit="ratio",
        better="higher",
        text="Share of targets on the same side of the middle of a gripper's range as recorded.",
    ),
    "gripper_timing_s": Metric(
        unit="s",
        better="lower",
        text="Mean absolute time between a recorded switch of a gripper across the middle of its range and "
        "the nearest one of the same kind in the targets that are followed, within one horizon.",
    ),
    "gripper_delay_s": Metric(
        unit="s",
        better=None,
        text="Mean time by which the switches compared in gripper_timing_s come after the recorded ones.",
    ),
    "gripper_unmatched": Metric(
        unit="ratio",
        better="lower",
        text="Share of all switches, recorded and predicted, without a counterpart within one horizon.",
    ),
    "ee_position_mm": Metric(
        unit="mm",
        better="lower",
        text="Mean distance of the end effector by the targets from that by the recorded positions; it is "
        "the link that carries the gripper, or else the one that the last joint of an arm moves.",
    ),
    "ee_rotation_deg": Metric(
        unit="deg",
        better="lower",
        text="Mean angle between the orientations of the end effector by the targets and as recorded.",
    ),
}
_COUNTS = {
    "limit_hits": Metric(
        unit="/chunk",
        better="lower",
        text="Limits of position, velocity or acceleration that shape the trajectory of a chunk, on average.",
    ),
    "deadline_misses": Metric(
        unit="ratio",
        better="lower",
        text="Share of chunks that come after the one before has run out.",
    ),
    "targets_dropped": Metric(
        unit="ratio",
        better="lower",
        text="Share of targets that are already due when the trajectory of their chunk begins.",
    ),
}
_DREAMS = {
    "psnr": Metric(
        unit="dB",
        better="higher",
        text="Peak signal-to-noise ratio of dreamed against recorded images, averaged over images.",
    ),
    "ssim": Metric(
        unit="",
        better="higher",
        text="Structural similarity of dreamed and recorded images, averaged over images; 1 for equal ones.",
    ),
}
