# SPDX-License-Identifier: Apache-2.0
"""Joint states: positions by joint name, judged before anything is made of them.

Several nodes may publish on one topic: an arm, its gripper, the wheels of a base. Messages that name none of
the robot's joints are foreign; the others give the positions of those that they name.

What cannot be the position of a joint is refused:

- a value that is not finite;
- one that lies further outside the joint's limits than `BEYOND` of its range, such as degrees for radians;
- the first one of a jump, a way that the joint cannot have gone since the last message at its velocity limit
  (stamps may be off by `joint_tolerance_s`): the next message shows whether the joint is there. Not of a
  gripper, many of which only report that they have closed;
- everything for `DISPUTE_S` after a joint jumped there and back in consecutive messages, or was at two places
  at one time: so do the messages of two publishers, one of which may be a simulation or a stale default.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.observation.judgement import Judgement, ObservationError

ROUNDING = 0.01
"""Share of its range by which a joint may be outside of it: sensors and end stops are no sharper."""
BEYOND = 0.25
"""Share of its range by which no joint is outside of it: another unit, another zero, another joint."""
DISPUTE_S = 2.0
"""How long joint states are refused after two publishers disagreed [s]; slower ones than that are rare."""

OUTSIDE = "a joint is outside its limits"
FAST = "a joint moves faster than its velocity limit"
REPEATED = "a stamp comes again with other positions"
"""Kinds of remarks."""
INSIDE_AGAIN = "move the arm inside its limits, or compare units and limits in the robot file"
"""What to do about a joint outside its limits."""

Remark = tuple[str, str, str]
"""Kind, what was found, and what to do."""

_NS = 1_000_000_000
_MOST_LAYOUTS = 100
"""Different lists of names that are remembered."""

Floats = NDArray[np.float64]


class Reading(NamedTuple):
    """What a joint state says about the robot's joints."""

    columns: tuple[int, ...]
    """(n,) which of `Embodiment.state_joints`, increasing."""
    positions: Floats
    """(n,) [rad or m]."""


class Outside(NamedTuple):
    """A joint that is outside its limits."""

    joint: str
    words: str
    """Joint, position, and limits."""
    share: float
    """How far, as a share of the joint's range."""


def outside(robot: Embodiment, positions: Floats) -> list[Outside]:
    """The joints that are outside their limits, furthest first; (J,) positions, NaN where unknown."""
    found = []
    for joint, position in zip(robot.state_joints, positions.tolist(), strict=True):
        limit, unit = robot.limits[joint], robot.joint_units[joint]
        excess = max(limit.lower - position, position - limit.upper)
        if excess > 0:
            words = f"{joint} at {position:.4g}, limits {limit.lower:g} to {limit.upper:g} {unit}"
            found.append(Outside(joint, words, excess / (limit.upper - limit.lower)))
    return sorted(found, key=lambda item: -item.share)


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where the joints of the robot stand in messages with the same names; n of them."""

    columns: tuple[int, ...]
    """(n,) which of `Embodiment.state_joints`, increasing."""
    index: NDArray[np.intp]
    """(n,) place of each in the message."""
    picked: NDArray[np.intp]
    """(n,) as `columns`."""
    lower: Floats
    """(n,) limit of each [rad or m]."""
    upper: Floats
    """(n,) limit of each [rad or m]."""
    velocity: Floats
    """(n,) limit of each [rad/s or m/s]."""
    gripper: NDArray[np.bool_]
    """(n,) whether it opens and closes."""
    twice: tuple[str, ...]
    """Joints of the robot that are named more than once."""


class JointStateReader:
    """Reads the joint states of one topic, and judges them.

    Args:
        robot: Names joints, limits and units.
    """

    def __init__(self, robot: Embodiment) -> None:
        self._robot = robot
        self._joints = robot.state_joints
        limits = [robot.limits[joint] for joint in self._joints]
        self._lower = np.array([limit.lower for limit in limits])
        self._upper = np.array([limit.upper for limit in limits])
        self._velocity = np.array([limit.velocity for limit in limits])
        self._tolerance_s = robot.joint_tolerance_s
        self._layouts: dict[tuple[str, ...], _Layout | None] = {}
        self._stamps = np.zeros(len(limits), np.int64)
        self.newest = np.full(len(limits), np.nan)
        """(J,) the position of each joint in the last message that named it [rad or m]; NaN before."""
        self._jumps = np.zeros(len(limits))
        self._jumped = False
        self._dispute: tuple[int, str] | None = None
        self._refused: dict[tuple[int, ...], str] = {}
        self._nameless = ""
        self.judgement = Judgement()
        """What was found so far."""
        self.named: set[str] = set()
        """Every joint that was named, of this robot or not."""

    @property
    def complaint(self) -> str:
        """What is wrong now, in words: refused since the last used message of the same joints, or unnamed."""
        return next(iter(self._refused.values()), self._nameless)

    @property
    def unnamed(self) -> list[str]:
        """Joints of the robot that no message has named so far."""
        return [joint for joint in self._joints if joint not in self.named]

    def read(self, message: Any, stamp_ns: int, topic: str) -> Reading | None:
        """The positions of the robot's joints; None for a foreign message.

        Args:
            message: Shaped as sensor_msgs/JointState; any order.
            stamp_ns: Time of the measurement [ns].
            topic: Where it came from, for messages.

        Raises:
            ObservationError: The message cannot be used.
        """
        self.judgement.received += 1
        layout = self._layout(message, topic)
        if layout is None:
            self.judgement.foreign += 1
            return None
        try:
            positions = self._positions(message, layout, topic)
            remarks = [
                *self._judge_places(positions, layout, topic),
                *self._judge_ways(positions, stamp_ns, layout, topic),
            ]
        except ObservationError as error:
            self.judgement.refuse(error)
            self._refused[layout.columns] = str(error)
            raise
        for remark in remarks:
            self.judgement.remark(*remark)
        if self._refused:
            good = set(layout.columns)
            self._refused = {key: words for key, words in self._refused.items() if not good & set(key)}
        return Reading(layout.columns, positions)

    def columns(self, message: Any, topic: str) -> tuple[int, ...]:
        """Which of `Embodiment.state_joints` a message names; empty for a foreign one, nothing is judged."""
        layout = self._layout(message, topic)
        return () if layout is None else layout.columns

    def _layout(self, message: Any, topic: str) -> _Layout | None:
        names = tuple(message.name)
        if names in self._layouts:
            return self._layouts[names]
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        self.named.update(names)
        places = {name: place for place, name in enumerate(names)}
        columns = tuple(column for column, joint in enumerate(self._joints) if joint in places)
        own = [self._joints[column] for column in columns]
        layout = None
        if columns:
            picked = np.array(columns, np.intp)
            layout = _Layout(
                columns=columns,
                index=np.array([places[joint] for joint in own], np.intp),
                picked=picked,
                lower=self._lower[picked],
                upper=self._upper[picked],
                velocity=self._velocity[picked],
                gripper=np.isin(own, self._robot.gripper_joints),
                twice=tuple(joint for joint in own if names.count(joint) > 1),
            )
        self._layouts[names] = layout
        self._nameless = self._missing_names(topic)
        return layout

    def _missing_names(self, topic: str) -> str:
        unnamed, spare = self.unnamed, sorted(self.named - set(self._joints))
        if not unnamed:
            return ""
        close = difflib.get_close_matches(unnamed[0], spare, n=1)
        got = f"no {', '.join(unnamed)}" + (f" (but {close[0]})" if close else "")
        fix = "compare the joint names in the robot file"
        return str(ObservationError(topic, f"joints {', '.join(self._joints)}", got, fix))

    def _positions(self, message: Any, layout: _Layout, topic: str) -> Floats:
        positions = np.asarray(message.position, dtype=np.float64)
        if len(positions) != len(message.name):
            fix = "look at the publisher of the joint states"
            raise ObservationError(topic, f"{len(message.name)} positions", str(len(positions)), fix)
        if layout.twice:
            fix = "let one publisher name each joint"
            raise ObservationError(topic, "each joint once", f"{', '.join(layout.twice)} twice", fix)
        return positions[layout.index]

    def _judge_places(self, positions: Floats, layout: _Layout, topic: str) -> Sequence[Remark]:
        excess = np.maximum(layout.lower - positions, positions - layout.upper)
        if excess.max() <= 0:
            return ()
        for column, position in zip(layout.columns, positions, strict=True):
            if not np.isfinite(position):
                got = f"{self._joints[column]} at {position}"
                raise ObservationError(topic, "finite positions", got, "look at the robot's driver")
        everywhere = np.full(len(self._joints), np.nan)
        everywhere[layout.picked] = positions
        joint, words, share = outside(self._robot, everywhere)[0]
        if share > BEYOND:
            others = self._other_units(everywhere, joint)
            fits = [name for name, position in others if self._is_inside(joint, position)]
            fix = "look at the robot's driver, or compare joints and limits in the robot file"
            if fits:
                words += f", which fits {' or '.join(fits)}"
                fix = f"let the driver publish {self._robot.joint_units[joint]}, or convert its joint states"
            raise ObservationError(topic, "positions that the joints can have", words, fix)
        return [(OUTSIDE, words, INSIDE_AGAIN)] if share > ROUNDING else ()

    def _other_units(self, positions: Floats, joint: str) -> Iterator[tuple[str, float]]:
        """What a position may be instead, and what it then is in the unit of the joint.

        Args:
            positions: (J,), NaN where unknown; degrees are thought of where they fit all joints.
            joint: The joint.
        """
        unit, limit = self._robot.joint_units[joint], self._robot.limits[joint]
        position = float(positions[self._joints.index(joint)])
        if unit == "rad":
            turning = {
                name: math.radians(value)
                for name, value in zip(self._joints, positions.tolist(), strict=True)
                if self._robot.joint_units[name] == "rad" and not math.isnan(value)
            }
            if all(self._is_inside(name, value) for name, value in turning.items()):
                yield "degrees", turning[joint]
            yield "a turn too many", position - math.copysign(2 * math.pi, position)
        if unit == "m":
            yield "mm", position / 1000
            yield "the width between two fingers", position / 2
        if unit == "ratio":
            yield "percent", position / 100
        elif joint in self._robot.gripper_joints:
            yield "a share of the travel", limit.lower + position * (limit.upper - limit.lower)

    def _is_inside(self, joint: str, position: float) -> bool:
        limit = self._robot.limits[joint]
        slack = ROUNDING * (limit.upper - limit.lower)
        return limit.lower - slack <= position <= limit.upper + slack

    def _judge_ways(self, positions: Floats, stamp_ns: int, layout: _Layout, topic: str) -> Sequence[Remark]:
        picked = layout.picked
        before_ns, moved = self._stamps[picked], positions - self.newest[picked]
        self._stamps[picked] = stamp_ns
        self.newest[picked] = positions
        needed_s = np.abs(moved) / layout.velocity
        remarks: Sequence[Remark] = ()
        if not needed_s.max() <= self._tolerance_s or self._jumped:
            remarks = self._judge_jumps(needed_s, moved, stamp_ns - before_ns, stamp_ns, layout, topic)
        elif (again := before_ns == stamp_ns).any() and stamp_ns and moved[again].any():
            place = int(np.argmax(needed_s * again))
            got = f"{self._joints[layout.columns[place]]} differs by {abs(moved[place]):.2g}"
            remarks = [(REPEATED, got, "let the driver stamp each message with its capture time")]
        if self._dispute and abs(stamp_ns - self._dispute[0]) >= DISPUTE_S * _NS:
            self._dispute = None  # for good: a clock that is set back later does not bring it up again
        if self._dispute:
            fix = "end one of them (ros2 topic info -v shows all), or look for a sensor that fails"
            raise ObservationError(topic, "one publisher of each joint", self._dispute[1], fix)
        return remarks

    def _judge_jumps(
        self,
        needed_s: Floats,
        moved: Floats,
        since_ns: NDArray[np.int64],
        stamp_ns: int,
        layout: _Layout,
        topic: str,
    ) -> Sequence[Remark]:
        """Judges ways that joints cannot have gone since the last message.

        Args:
            needed_s: (n,) how long the way takes at the velocity limit [s]; NaN for the first position.
            moved: (n,) the way [rad or m].
            since_ns: (n,) time since the last message [ns].
            stamp_ns: Time of the measurement [ns].
            layout: Whose joints.
            topic: Where the message came from.
        """
        picked, since_s = layout.picked, np.abs(since_ns) / _NS
        jumped, before = needed_s > since_s + self._tolerance_s, self._jumps[picked]
        self._jumps[picked] = np.where(jumped, moved, 0.0)
        self._jumped = bool(self._jumps.any())
        if not jumped.any():
            return ()
        back = jumped & ((before * moved < 0) | (since_ns == 0))
        fast = jumped & ~layout.gripper
        if not (back | fast).any():
            return ()
        place = int(np.argmax(np.where(back if back.any() else fast, needed_s, 0)))
        joint, position = self._joints[layout.columns[place]], self.newest[picked[place]]
        unit, speed = self._robot.joint_units[joint], layout.velocity[place]
        within = (
            f"{position - moved[place]:.4g} and {position:.4g} {unit} within {1000 * since_s[place]:.0f} ms"
        )
        if back.any():
            self._dispute = stamp_ns, f"two that disagree: {joint} at {within}"
            return ()
        got = f"{joint} at {within}, its velocity limit is {speed:g} {unit}/s"
        fix = "look at the robot's driver, or compare the velocity limit in the robot file"
        if (before[fast] == 0).any():
            raise ObservationError(topic, "positions without jumps", got, fix)
        return [(FAST, got, fix)]
