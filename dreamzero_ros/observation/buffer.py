# SPDX-License-Identifier: Apache-2.0
"""Images and joint states, ordered by stamp, out of which frames are made.

What a frame holds depends on the stamps alone, not on the order of arrival:

- `t_k` is the earliest of the cameras' newest stamps, the time up to which every camera has delivered.
- For each wanted offset, each camera gives the image nearest to `t_k` + offset, at most `image_tolerance_s`
  away (of two equally near ones the older).
- The joint positions are interpolated at `t_k` between the two joint states around it; where `t_k` lies
  before or after all of them, the nearest stands. The nearest is at most `joint_tolerance_s` away.

Nothing is repeated, filled in or waited for: where something is missing, the answer is a reason in words.

Each stream keeps what lies within its span, the reach of the image offsets and `SLACK_S`. An item that is
older than the newest by less is late and goes to its place; by more, the clock has jumped and the stream
restarts.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import Frame
from dreamzero_ros.embodiment.schema import Embodiment

JOINT_STATES = "joint_states"
"""Name of the stream of joint states, beside those of the cameras."""

SLACK_S = 1.0
"""How much longer than the image offsets reach back everything is kept, for streams that lag behind [s]."""

ROUNDING = 1e-6
"""Share of a period by which stamps to come are uncertain, for being whole nanoseconds."""

_NS = 1_000_000_000

_Item = TypeVar("_Item")


class Added(Enum):
    """What became of something that was added."""

    STORED = "stored"
    """It is in its place by stamp."""
    REPLACED = "replaced"
    """It took the place of one with the same stamp."""
    RESTARTED = "restarted"
    """Its stamp is further behind than the stream keeps, so the clock has jumped back (a bag that loops, a
    simulation that was reset): what the stream held was dropped."""


@dataclass(frozen=True)
class Missing:
    """Why there is no frame."""

    stream: str
    """The camera, or `JOINT_STATES`."""
    reason: str
    """In words, for the operator."""


@dataclass(frozen=True, kw_only=True)
class StreamCounts:
    """What one stream has seen since the start."""

    received: int
    """Everything that was added."""
    replaced: int
    """Of it, with a stamp that was there already."""
    restarts: int
    """Times that its stamps jumped back."""


class _Stream(Generic[_Item]):
    """Items by stamp; what lies more than `span_ns` before the newest is dropped."""

    def __init__(self, span_ns: int) -> None:
        self.span_ns = span_ns
        self.stamps: list[int] = []
        self.items: list[_Item] = []
        self.received = self.replaced = self.restarts = 0
        self.left_ns = 0  # newest stamp before the last restart

    def add(self, stamp_ns: int, item: _Item) -> Added:
        self.received += 1
        restarted = bool(self.stamps) and stamp_ns < self.stamps[-1] - self.span_ns
        if restarted:
            self.restarts += 1
            self.left_ns = self.stamps[-1]
            self.clear()
        place = bisect_left(self.stamps, stamp_ns)
        if place < len(self.stamps) and self.stamps[place] == stamp_ns:
            self.replaced += 1
            self.items[place] = item
            return Added.REPLACED
        self.stamps.insert(place, stamp_ns)
        self.items.insert(place, item)
        expired = bisect_left(self.stamps, self.stamps[-1] - self.span_ns)
        del self.stamps[:expired], self.items[:expired]
        return Added.RESTARTED if restarted else Added.STORED

    def clear(self) -> None:
        self.stamps.clear()
        self.items.clear()

    def nearest(self, time_ns: int) -> int:
        """Index of the item nearest in time; there must be one."""
        after = bisect_left(self.stamps, time_ns)
        around = [index for index in (after - 1, after) if 0 <= index < len(self.stamps)]
        return min(around, key=lambda index: abs(self.stamps[index] - time_ns))

    def rhythm(self) -> _Rhythm:
        """How the stamps have come so far; there must be two. A gap counts as the items that it lacks."""
        steps_ns = np.diff(self.stamps)
        periods = np.rint(steps_ns / np.median(steps_ns)).sum()
        return _Rhythm(self.stamps[-1], float(steps_ns.sum() / periods))


@dataclass(frozen=True)
class _Rhythm:
    """The stamps of a stream that goes on as it did."""

    newest_ns: int
    period_ns: float

    def first_from(self, time_ns: int) -> int:
        """The first one at a time or later."""
        return self._stamp(math.ceil((time_ns - self.newest_ns) / self.period_ns - ROUNDING))

    def last_until(self, time_ns: int) -> int:
        """The last one at a time or before."""
        return self._stamp(math.floor((time_ns - self.newest_ns) / self.period_ns + ROUNDING))

    def settled(self, time_ns: int) -> bool:
        """Whether no stamp that is still to come will be nearer to a time than one that is there."""
        return time_ns <= self.newest_ns + self.period_ns / 2

    def _stamp(self, number: int) -> int:
        return self.newest_ns + round(number * self.period_ns)


class ObservationBuffer:
    """Collects what the robot sees; threads may add and ask at the same time.

    Args:
        embodiment: The robot.
        max_age_s: See the attribute.
    """

    def __init__(self, embodiment: Embodiment, max_age_s: float) -> None:
        self._embodiment = embodiment
        self.max_age_s = max_age_s
        """Oldest that the newest item of a stream may be when a frame is asked for [s]; may be changed."""
        self._offsets_ns = [round(step * embodiment.dt_s * _NS) for step in embodiment.image_offsets_steps]
        self.span_ns = round(SLACK_S * _NS) - self._offsets_ns[0]
        """How far back everything is kept [ns]."""
        self._cameras: dict[str, _Stream[NDArray[np.uint8]]] = {
            camera.name: _Stream(self.span_ns) for camera in embodiment.cameras
        }
        self._shapes = {camera.name: (camera.height, camera.width, 3) for camera in embodiment.cameras}
        self._joints: _Stream[NDArray[np.float64]] = _Stream(self.span_ns)
        self._lock = threading.Lock()

    def add_image(self, camera: str, stamp_ns: int, image: NDArray[np.uint8]) -> Added:
        """Takes an image (H, W, 3) RGB of the camera's size; it must not be changed afterwards."""
        if image.shape != self._shapes[camera]:
            raise ValueError(f"camera {camera}: expected an image {self._shapes[camera]}, got {image.shape}")
        with self._lock:
            return self._cameras[camera].add(stamp_ns, image)

    def add_joint_state(self, stamp_ns: int, positions: NDArray[np.float64]) -> Added:
        """Takes (J,) joint positions in the order of `Embodiment.state_joints` [rad or m]."""
        expected = (len(self._embodiment.state_joints),)
        if positions.shape != expected:
            raise ValueError(f"joint states: expected positions {expected}, got {positions.shape}")
        with self._lock:
            return self._joints.add(stamp_ns, positions)

    def clear(self) -> None:
        """Forgets everything but the counts."""
        with self._lock:
            for stream in self._streams().values():
                stream.clear()

    def frame(self, images: int, instruction: str, now_ns: int) -> Frame | Missing:
        """The newest frame, or why there is none.

        Args:
            images: Images per camera: 1, or the number of image offsets.
            instruction: What the robot is asked to do.
            now_ns: Time on the clock of the stamps [ns].
        """
        with self._lock:
            picked = self._pick(images, now_ns)
        if isinstance(picked, Missing):
            return picked
        return Frame(
            stamp_ns=picked.stamp_ns,
            images={name: np.stack(chosen) for name, chosen in picked.images.items()},
            image_stamps_ns=picked.image_stamps_ns,
            positions=picked.positions,
            instruction=instruction,
        )

    def missing(self, images: int, now_ns: int) -> Missing | None:
        """Why `frame` would not answer with a frame, or None; arguments as there."""
        with self._lock:
            picked = self._pick(images, now_ns)
        return picked if isinstance(picked, Missing) else None

    def foresee(self, images: int, from_ns: int) -> dict[str, NDArray[np.uint8]] | None:
        """The first images of a frame to come, if the cameras go on as they did.

        Args:
            images: How many, fewer than the image offsets.
            from_ns: The frame is the first one with `t_k` at this time or later [ns].

        Returns:
            By camera name: (images, H, W, 3) RGB, oldest first. None where one is missing, or one that is
            still to come will be nearer to its time.
        """
        with self._lock:
            chosen = self._foreseen(self._offsets_ns[:images], from_ns)
        return None if chosen is None else {name: np.stack(items) for name, items in chosen.items()}

    def images_at(self, time_ns: int) -> dict[str, NDArray[np.uint8]] | Missing:
        """By camera name: (1, H, W, 3) RGB, the image nearest to a time [ns], or which is too far away."""
        found = {}
        with self._lock:
            for name, stream in self._cameras.items():
                if not stream.stamps:
                    return Missing(name, f"camera {name}: no image yet")
                indices = self._choose(name, stream, time_ns, [0])
                if isinstance(indices, Missing):
                    return indices
                found[name] = stream.items[indices[0]][None]
        return found

    def newest_set_ns(self) -> int | None:
        """`t_k` of the frame that could be made now [ns], or None while a camera has no image."""
        with self._lock:
            streams = self._cameras.values()
            if not all(stream.stamps for stream in streams):
                return None
            return min(stream.stamps[-1] for stream in streams)

    def newest_positions(self) -> tuple[int, NDArray[np.float64]] | None:
        """Stamp [ns] and (J,) positions of the newest joint state, or None."""
        with self._lock:
            return (self._joints.stamps[-1], self._joints.items[-1]) if self._joints.stamps else None

    def ages_s(self, now_ns: int) -> dict[str, float | None]:
        """Age of the newest item of each stream [s]; None where there is none."""
        with self._lock:
            return {
                name: (now_ns - stream.stamps[-1]) / _NS if stream.stamps else None
                for name, stream in self._streams().items()
            }

    def counts(self) -> dict[str, StreamCounts]:
        """What each stream has seen since the start."""
        with self._lock:
            return {
                name: StreamCounts(received=s.received, replaced=s.replaced, restarts=s.restarts)
                for name, s in self._streams().items()
            }

    def _streams(self) -> Mapping[str, _Stream[NDArray[np.uint8]] | _Stream[NDArray[np.float64]]]:
        return {**self._cameras, JOINT_STATES: self._joints}

    def _pick(self, images: int, now_ns: int) -> _Picked | Missing:
        if images not in (1, len(self._offsets_ns)):
            raise ValueError(f"images: expected 1 or {len(self._offsets_ns)}, got {images}")
        for name, stream in self._streams().items():
            stale = self._stale(name, stream, now_ns)
            if stale is not None:
                return stale
        stamp_ns = min(stream.stamps[-1] for stream in self._cameras.values())
        chosen: dict[str, list[NDArray[np.uint8]]] = {}
        stamps: dict[str, NDArray[np.int64]] = {}
        for name, stream in self._cameras.items():
            indices = self._choose(name, stream, stamp_ns, self._offsets_ns[-images:])
            if isinstance(indices, Missing):
                return indices
            chosen[name] = [stream.items[index] for index in indices]
            stamps[name] = np.array([stream.stamps[index] for index in indices], np.int64)
        positions = self._positions(stamp_ns)
        if isinstance(positions, Missing):
            return positions
        return _Picked(stamp_ns=stamp_ns, images=chosen, image_stamps_ns=stamps, positions=positions)

    def _foreseen(self, offsets_ns: Sequence[int], from_ns: int) -> dict[str, list[NDArray[np.uint8]]] | None:
        if any(len(stream.stamps) < 2 for stream in self._cameras.values()):
            return None
        rhythms = {name: stream.rhythm() for name, stream in self._cameras.items()}
        complete_ns = max(rhythm.first_from(from_ns) for rhythm in rhythms.values())
        stamp_ns = min(rhythm.last_until(complete_ns) for rhythm in rhythms.values())
        chosen = {}
        for name, stream in self._cameras.items():
            indices = self._choose(name, stream, stamp_ns, offsets_ns)
            if isinstance(indices, Missing) or not rhythms[name].settled(stamp_ns + offsets_ns[-1]):
                return None
            chosen[name] = [stream.items[index] for index in indices]
        return chosen

    def _stale(
        self, name: str, stream: _Stream[NDArray[np.uint8]] | _Stream[NDArray[np.float64]], now_ns: int
    ) -> Missing | None:
        what, item = _words(name)
        if not stream.stamps:
            return Missing(name, f"{what}: no {item} yet")
        newest_ns = stream.stamps[-1]
        age_ns = now_ns - newest_ns
        max_age_ns = round(self.max_age_s * _NS)
        limit = f"the limit is {_ms(max_age_ns)}"
        if age_ns > max_age_ns:
            back_ns = stream.left_ns - newest_ns
            jump = f"; its stamps jumped back by {_ms(back_ns)}: compare the clocks" if back_ns > 0 else ""
            return Missing(name, f"{what}: newest {item} is {_ms(age_ns)} old, {limit}{jump}")
        if age_ns < -max_age_ns:
            ahead = f"newest {item} is stamped {_ms(-age_ns)} in the future, {limit}"
            return Missing(name, f"{what}: {ahead}; compare the clocks")
        return None

    def _choose(
        self, name: str, stream: _Stream[NDArray[np.uint8]], stamp_ns: int, offsets_ns: Sequence[int]
    ) -> list[int] | Missing:
        """One index for each wanted offset, oldest first."""
        tolerance_s = self._embodiment.image_tolerance_s
        indices = []
        for offset_ns in offsets_ns:
            index = stream.nearest(stamp_ns + offset_ns)
            distance_ns = abs(stream.stamps[index] - stamp_ns - offset_ns)
            if distance_ns > tolerance_s * _NS:
                when = f"{_ms(-offset_ns)} before the newest image set"
                found = f"the nearest is {_ms(distance_ns)} away, the tolerance is {_ms(tolerance_s * _NS)}"
                return Missing(name, f"camera {name}: no image {when}: {found}")
            indices.append(index)
        return indices

    def _positions(self, stamp_ns: int) -> NDArray[np.float64] | Missing:
        stamps, items = self._joints.stamps, self._joints.items
        nearest = self._joints.nearest(stamp_ns)
        distance_ns = abs(stamps[nearest] - stamp_ns)
        tolerance_ns = self._embodiment.joint_tolerance_s * _NS
        if distance_ns > tolerance_ns:
            found = f"the nearest is {_ms(distance_ns)} away, the tolerance is {_ms(tolerance_ns)}"
            return Missing(JOINT_STATES, f"joint states: none at the newest image set: {found}")
        after = bisect_left(stamps, stamp_ns)
        if after in (0, len(stamps)):
            return items[nearest].copy()
        start_ns, end_ns = stamps[after - 1], stamps[after]
        fraction = (stamp_ns - start_ns) / (end_ns - start_ns)
        return items[after - 1] + fraction * (items[after] - items[after - 1])


@dataclass(frozen=True, kw_only=True)
class _Picked:
    """A frame whose images are not yet copied together."""

    stamp_ns: int
    images: Mapping[str, Sequence[NDArray[np.uint8]]]
    image_stamps_ns: Mapping[str, NDArray[np.int64]]
    positions: NDArray[np.float64]


def _words(stream: str) -> tuple[str, str]:
    return ("joint states", "joint state") if stream == JOINT_STATES else (f"camera {stream}", "image")


def _ms(duration_ns: float) -> str:
    return f"{duration_ns / 1e6:.0f} ms"
