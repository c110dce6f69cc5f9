# SPDX-License-Identifier: Apache-2.0
"""Images and joint states, ordered by stamp, out of which frames are made.

What a frame holds depends on the stamps alone, not on the order of arrival:

- `t_k` is the earliest of the cameras' newest stamps, the time up to which every camera has delivered.
- For each wanted offset, each camera gives the image nearest to `t_k` + offset, at most `image_tolerance_s`
  away (of two equally near ones the older).
- The position of each joint is interpolated at `t_k` between the two joint states around it that name the
  joint; where `t_k` lies before or after all of them, the nearest stands. The nearest is at most
  `joint_tolerance_s` away, for every joint. Which joints come in one message does not matter.

Nothing is repeated, filled in or waited for: where something is missing, the answer is a reason in words.

Each stream keeps what lies within its span, the reach of the image offsets and `SLACK_S`. An item that is
older than the newest by less is late and goes to its place; by more, the clock has jumped and the stream
restarts.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import Frame
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.observation.joint_streams import JointStreams, Part
from dreamzero_ros.observation.stream import Added, Stream

JOINT_STATES = "joint_states"
"""Name of the stream of joint states, beside those of the cameras."""

SLACK_S = 1.0
"""How much longer than the image offsets reach back everything is kept, for streams that lag behind [s]."""

_NS = 1_000_000_000


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


class ObservationBuffer:
    """Collects what the robot sees; threads may add and ask at the same time.

    Args:
        embodiment: The robot.
        max_age_s: See the attribute.
    """

    def __init__(self, embodiment: Embodiment, max_age_s: float) -> None:
        self.embodiment = embodiment
        """The robot."""
        self.max_age_s = max_age_s
        """Oldest that the newest item of a stream may be when a frame is asked for [s]; may be changed."""
        self._offsets_ns = [round(step * embodiment.dt_s * _NS) for step in embodiment.image_offsets_steps]
        self.span_ns = round(SLACK_S * _NS) - self._offsets_ns[0]
        """How far back everything is kept [ns]."""
        self._cameras: dict[str, Stream[NDArray[np.uint8]]] = {
            camera.name: Stream(self.span_ns) for camera in embodiment.cameras
        }
        self._shapes = {camera.name: (camera.height, camera.width, 3) for camera in embodiment.cameras}
        self._joints = JointStreams(len(embodiment.state_joints), self.span_ns)
        self._lock = threading.Lock()

    def add_image(self, camera: str, stamp_ns: int, image: NDArray[np.uint8]) -> Added:
        """Takes an image (H, W, 3) RGB of the camera's size; it must not be changed afterwards."""
        if image.shape != self._shapes[camera]:
            raise ValueError(f"camera {camera}: expected an image {self._shapes[camera]}, got {image.shape}")
        with self._lock:
            return self._cameras[camera].add(stamp_ns, image)

    def add_joint_state(
        self, stamp_ns: int, positions: NDArray[np.float64], columns: tuple[int, ...] | None = None
    ) -> Added:
        """Takes the joint positions of a message.

        Args:
            stamp_ns: Time of the measurement [ns].
            positions: (n,) [rad or m]; must not be changed afterwards.
            columns: (n,) which joints of `Embodiment.state_joints`, increasing; None for all of them.
        """
        expected = (len(self.embodiment.state_joints if columns is None else columns),)
        if positions.shape != expected:
            raise ValueError(f"joint states: expected positions {expected}, got {positions.shape}")
        with self._lock:
            return self._joints.add(stamp_ns, positions, columns)

    def clear(self) -> None:
        """Forgets everything but the counts."""
        with self._lock:
            for stream in self._cameras.values():
                stream.clear()
            self._joints.clear()

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
        """Stamp [ns] and (J,) positions of the newest time up to which every joint has come, or None.

        Where joints come in several messages, those that are ahead are interpolated at this time, so that all
        positions are of one moment.
        """
        with self._lock:
            stamp_ns = self._joints.newest_ns
            return None if stamp_ns is None else (stamp_ns, self._joints.at_newest(stamp_ns))

    def newest_of_each(self) -> NDArray[np.float64] | None:
        """(J,) the newest position of every joint, each of its own time; None while one has not come."""
        with self._lock:
            return None if self._joints.newest_ns is None else self._joints.newest()

    def ages_s(self, now_ns: int) -> dict[str, float | None]:
        """Age of the newest item of each stream [s]; of joint states that of `newest_positions`."""
        with self._lock:
            newest_ns = {name: stream.stamps[-1:] for name, stream in self._cameras.items()}
            joints_ns = self._joints.newest_ns
        newest_ns[JOINT_STATES] = [] if joints_ns is None else [joints_ns]
        return {name: (now_ns - found[0]) / _NS if found else None for name, found in newest_ns.items()}

    def counts(self) -> dict[str, StreamCounts]:
        """What each stream has seen since the start."""
        with self._lock:
            found = {name: _counts(stream) for name, stream in self._cameras.items()}
            return {**found, JOINT_STATES: _counts(self._joints)}

    def _pick(self, images: int, now_ns: int) -> _Picked | Missing:
        if images not in (1, len(self._offsets_ns)):
            raise ValueError(f"images: expected 1 or {len(self._offsets_ns)}, got {images}")
        stale = self._stale_camera(now_ns) or self._stale_joints(now_ns)
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

    def _stale_camera(self, now_ns: int) -> Missing | None:
        for name, stream in self._cameras.items():
            what = f"camera {name}"
            if not stream.stamps:
                return Missing(name, f"{what}: no image yet")
            stale = self._stale(stream, "image", now_ns)
            if stale:
                return Missing(name, f"{what}: {stale}")
        return None

    def _stale_joints(self, now_ns: int) -> Missing | None:
        what, parts, unheard = "joint states", self._joints.parts, self._joints.unheard
        if not parts:
            return Missing(JOINT_STATES, f"{what}: no joint state yet")
        if unheard:
            return Missing(JOINT_STATES, f"{what}: no {self._names(unheard)} yet")
        for part in parts:
            stale = self._stale(part.stream, f"joint state{self._of(part)}", now_ns)
            if stale:
                return Missing(JOINT_STATES, f"{what}: {stale}")
        return None

    def _stale(
        self, stream: Stream[NDArray[np.uint8]] | Stream[NDArray[np.float64]], item: str, now_ns: int
    ) -> str:
        """Why the newest item of a stream is too old, or of the future; empty where it is not."""
        newest_ns = stream.stamps[-1]
        age_ns = now_ns - newest_ns
        max_age_ns = round(self.max_age_s * _NS)
        limit = f"the limit is {_ms(max_age_ns)}"
        if age_ns > max_age_ns:
            back_ns = stream.left_ns - newest_ns
            jump = f"; its stamps jumped back by {_ms(back_ns)}: compare the clocks" if back_ns > 0 else ""
            return f"newest {item} is {_ms(age_ns)} old, {limit}{jump}"
        if age_ns < -max_age_ns:
            return f"newest {item} is stamped {_ms(-age_ns)} in the future, {limit}; compare the clocks"
        return ""

    def _choose(
        self, name: str, stream: Stream[NDArray[np.uint8]], stamp_ns: int, offsets_ns: Sequence[int]
    ) -> list[int] | Missing:
        """One index for each wanted offset, oldest first."""
        tolerance_s = self.embodiment.image_tolerance_s
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
        distance_ns, part = self._joints.furthest(stamp_ns)
        tolerance_ns = self.embodiment.joint_tolerance_s * _NS
        if distance_ns > tolerance_ns:
            found = f"the nearest is {_ms(distance_ns)} away, the tolerance is {_ms(tolerance_ns)}"
            what = f"joint states: none{self._of(part)} at the newest image set"
            return Missing(JOINT_STATES, f"{what}: {found}")
        return self._joints.at(stamp_ns)

    def _of(self, part: Part) -> str:
        """Whose joint states a part is; empty where all joints come together."""
        return "" if len(self._joints.parts) == 1 else f" of {self._names(part.columns)}"

    def _names(self, columns: Sequence[int]) -> str:
        return ", ".join(self.embodiment.state_joints[column] for column in columns)


@dataclass(frozen=True, kw_only=True)
class _Picked:
    """A frame whose images are not yet copied together."""

    stamp_ns: int
    images: Mapping[str, Sequence[NDArray[np.uint8]]]
    image_stamps_ns: Mapping[str, NDArray[np.int64]]
    positions: NDArray[np.float64]


def _counts(stream: Stream[NDArray[np.uint8]] | JointStreams) -> StreamCounts:
    return StreamCounts(received=stream.received, replaced=stream.replaced, restarts=stream.restarts)


def _ms(duration_ns: float) -> str:
    return f"{duration_ns / 1e6:.0f} ms"
