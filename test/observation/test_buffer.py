# SPDX-License-Identifier: Apache-2.0
"""The buffer against a plain list: what a frame holds depends on the stamps alone."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.embodiment.frame import Frame
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.buffer import JOINT_STATES, SLACK_S, Added, Missing, ObservationBuffer
from dreamzero_ros.policy.rollout import EARLY_STEPS

pytestmark = pytest.mark.cpu

DROID = load("droid_franka")
ROBOT = dataclasses.replace(
    DROID, cameras=tuple(dataclasses.replace(camera, width=2, height=1) for camera in DROID.cameras)
)
"""DROID with tiny images."""
CAMERAS = [camera.name for camera in ROBOT.cameras]
MS = 1_000_000
STEP_NS = round(ROBOT.dt_s * 1e9)
START_NS = 1_700_000_000 * 1_000_000_000
SPAN_NS = 23 * STEP_NS + round(SLACK_S * 1e9)

Event = tuple[str, int]
"""Stream and stamp [ns]."""


def image(stamp_ns: int) -> np.ndarray:
    """A picture that shows its stamp."""
    return np.full((1, 2, 3), stamp_ns // MS % 251, np.uint8)


def positions(stamp_ns: int) -> np.ndarray:
    """A robot that moves evenly, so that interpolation is exact."""
    return np.arange(1, 9) * ((stamp_ns - START_NS) / 1e9)


def add(buffer: ObservationBuffer, event: Event) -> Added:
    stream, stamp_ns = event
    if stream == JOINT_STATES:
        return buffer.add_joint_state(stamp_ns, positions(stamp_ns))
    return buffer.add_image(stream, stamp_ns, image(stamp_ns))


def filled(events: Sequence[Event], max_age_s: float = 100.0) -> ObservationBuffer:
    buffer = ObservationBuffer(ROBOT, max_age_s)
    for event in events:
        add(buffer, event)
    return buffer


def steady(duration_s: float = 2.0, rate_hz: float = 15.0) -> list[Event]:
    """All cameras in step, joint states at 100 Hz."""
    events = [
        (name, START_NS + round(i * 1e9 / rate_hz))
        for i in range(round(duration_s * rate_hz))
        for name in CAMERAS
    ]
    events += [(JOINT_STATES, START_NS + i * 10 * MS) for i in range(round(duration_s * 100))]
    return sorted(events, key=lambda event: event[1])


def newest(events: Sequence[Event]) -> int:
    return max(stamp for _, stamp in events)


def naive(events: Sequence[Event], images: int) -> tuple[int, dict[str, list[int]], np.ndarray] | None:
    """The definition in the module docstring, over a plain list of everything that ever came."""
    stamps = {
        name: sorted(stamp for stream, stamp in events if stream == name) for name in (*CAMERAS, JOINT_STATES)
    }
    if not all(stamps.values()):
        return None
    t_k = min(stamps[name][-1] for name in CAMERAS)
    picked = {}
    for name in CAMERAS:
        times = [t_k + round(step * ROBOT.dt_s * 1e9) for step in ROBOT.image_offsets_steps[-images:]]
        picked[name] = [min(stamps[name], key=lambda stamp: (abs(stamp - time), stamp)) for time in times]
        if any(abs(a - b) > ROBOT.image_tolerance_s * 1e9 for a, b in zip(picked[name], times, strict=True)):
            return None
    joints = stamps[JOINT_STATES]
    if min(abs(stamp - t_k) for stamp in joints) > ROBOT.joint_tolerance_s * 1e9:
        return None
    return t_k, picked, positions(min(max(t_k, joints[0]), joints[-1]))


def check_against_naive(buffer: ObservationBuffer, events: Sequence[Event], images: int) -> None:
    expected = naive(events, images)
    frame = buffer.frame(images, "wave", newest(events))
    if expected is None:
        assert isinstance(frame, Missing)
        assert buffer.missing(images, newest(events)) == frame
        return
    assert isinstance(frame, Frame), frame
    assert buffer.missing(images, newest(events)) is None
    t_k, picked, joints = expected
    assert frame.stamp_ns == t_k
    assert {name: stamps.tolist() for name, stamps in frame.image_stamps_ns.items()} == picked
    for name, stamps in picked.items():
        np.testing.assert_array_equal(frame.images[name], np.stack([image(stamp) for stamp in stamps]))
    np.testing.assert_allclose(frame.positions, joints, rtol=1e-6, atol=1e-6)


stream_names = st.sampled_from([*CAMERAS, JOINT_STATES])
scattered = st.lists(
    st.tuples(stream_names, st.integers(0, SPAN_NS // MS).map(lambda ms: START_NS + ms * MS)),
    min_size=1,
    max_size=60,
    unique=True,
)


@settings(deadline=None)
@given(scattered, st.sampled_from([1, 4]), st.randoms(use_true_random=False))
def test_arrival_order_does_not_matter(events, images, random):
    shuffled = list(events)
    random.shuffle(shuffled)
    check_against_naive(filled(shuffled), events, images)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([1, 4]))
def test_jittered_streams_with_losses_and_late_arrivals(data, images):
    """Four seconds, so that much of it has been dropped by the end."""
    events, arrivals = [], []
    for name, rate_hz in [(camera, data.draw(st.sampled_from([15, 30]))) for camera in CAMERAS] + [
        (JOINT_STATES, 50)
    ]:
        seed = data.draw(st.integers(0, 2**32 - 1))
        rng = np.random.default_rng(seed)
        for i in range(4 * rate_hz):
            if rng.random() < 0.03:
                continue
            stamp = START_NS + round(i * 1e9 / rate_hz) + int(rng.integers(0, 8 * MS))
            events.append((name, stamp))
            arrivals.append(stamp + int(rng.exponential(60 * MS)))
    order = np.argsort(arrivals, kind="stable")
    check_against_naive(filled([events[i] for i in order]), events, images)


def test_later_calls_see_the_images_at_the_offsets():
    events = steady()
    frame = filled(events).frame(4, "wave", newest(events))
    assert isinstance(frame, Frame)
    steps = (frame.image_stamps_ns[CAMERAS[0]] - frame.stamp_ns) / STEP_NS
    np.testing.assert_allclose(steps, [-23, -16, -8, 0], atol=0.01)
    assert frame.instruction == "wave"


def test_one_lost_image_is_bridged_by_its_neighbour():
    events = steady()
    stamps = sorted({stamp for name, stamp in events if name == CAMERAS[0]})
    lost = (CAMERAS[0], stamps[-1 - 8])
    frame = filled([event for event in events if event != lost]).frame(4, "wave", newest(events))
    assert isinstance(frame, Frame)
    assert frame.image_stamps_ns[CAMERAS[0]][2] in (stamps[-1 - 9], stamps[-1 - 7])


def reason(events: Sequence[Event], images: int = 4, now_ns: int | None = None) -> tuple[str, str]:
    answer = filled(events, max_age_s=0.3).frame(images, "wave", newest(events) if now_ns is None else now_ns)
    assert isinstance(answer, Missing), answer
    return answer.stream, answer.reason


def test_a_camera_that_never_came():
    events = [event for event in steady() if event[0] != CAMERAS[2]]
    assert reason(events) == ("wrist_image_left", "camera wrist_image_left: no image yet")


def test_a_camera_that_stopped():
    events = steady()
    end_ns = newest(events)
    events = [event for event in events if event[0] != CAMERAS[2] or event[1] <= end_ns - 400 * MS]
    stream, words = reason(events)
    assert stream == CAMERAS[2]
    assert words.startswith("camera wrist_image_left: newest image is 4")
    assert words.endswith("ms old, the limit is 300 ms")


def test_joint_states_that_stopped():
    events = steady()
    end_ns = newest(events)
    events = [event for event in events if event[0] != JOINT_STATES or event[1] <= end_ns - 500 * MS]
    stream, words = reason(events)
    assert stream == JOINT_STATES
    assert words.startswith("joint states: newest joint state is 4")
    assert words.endswith("ms old, the limit is 300 ms")


def test_everything_stopped():
    events = steady()
    assert "is 10" in reason(events, now_ns=newest(events) + 10_000 * MS)[1]


def test_clocks_that_differ():
    events = steady()
    assert "in the future" in reason(events, now_ns=newest(events) - 2000 * MS)[1]


def test_history_that_is_too_short_for_later_calls():
    events = steady(duration_s=1.0)
    stream, words = reason(events)
    assert stream == CAMERAS[0]
    assert words.startswith("camera exterior_image_1_left: no image 1533 ms before the newest image set")
    assert isinstance(filled(events).frame(1, "wave", newest(events)), Frame)


def test_joint_states_that_do_not_reach_the_images():
    """They are young enough by themselves, but none is near the image set."""
    events = [event for event in steady() if event[0] != JOINT_STATES]
    events.append((JOINT_STATES, newest(events) + 100 * MS))
    stream, words = reason(events)
    assert stream == JOINT_STATES
    assert words.startswith("joint states: none at the newest image set: the nearest is 100 ms away")


def test_cameras_out_of_step():
    events = steady()
    end_ns = newest([event for event in events if event[0] != JOINT_STATES])
    lagging = [event for event in events if event[0] != CAMERAS[1] or event[1] < end_ns - 3.5 * STEP_NS]
    frame = filled(lagging).frame(4, "wave", newest(lagging))
    assert isinstance(frame, Frame)
    assert end_ns - frame.stamp_ns == pytest.approx(4 * STEP_NS, abs=MS)


EARLY_NS = round(EARLY_STEPS * STEP_NS)
"""How much sooner than planned the next image set may be captured."""

Foreseen = dict[str, np.ndarray]


def regular(name: str, rate_hz: float, phase_ns: int, duration_s: float) -> list[Event]:
    count = round(duration_s * rate_hz)
    return [(name, START_NS + phase_ns + round(i * 1e9 / rate_hz)) for i in range(count)]


def joint_states(duration_s: float) -> list[Event]:
    return [(JOINT_STATES, START_NS + i * 10 * MS) for i in range(round(duration_s * 100))]


def foresee_calls(
    arrivals: list[list[Event]], interval_ns: int, images: int = 2
) -> list[tuple[Foreseen, Frame]]:
    """What was foreseen of every call and the frame that it then got, on events that come together in lists.

    A call looks at the first frame that is there when an interval has passed since the last one.
    """
    buffer, found = ObservationBuffer(ROBOT, 100.0), []
    due_ns, foreseen = START_NS + 2 * SPAN_NS // 3, None
    for events in arrivals:
        for event in events:
            add(buffer, event)
        newest_ns = buffer.newest_set_ns()
        if newest_ns is None:
            continue
        if newest_ns >= due_ns:
            frame = buffer.frame(4, "wave", newest_ns)
            if isinstance(frame, Frame):
                found.append((foreseen, frame))
            due_ns, foreseen = newest_ns + interval_ns - EARLY_NS, None
        elif foreseen is None:
            foreseen = buffer.foresee(images, due_ns)
    return found[1:]


def is_right(foreseen: Foreseen | None, frame: Frame) -> bool:
    return foreseen is not None and all(
        np.array_equal(images, frame.images[name][: len(images)]) for name, images in foreseen.items()
    )


RHYTHMS = (15, 20, 30, 60)
"""Rates whose periods, and the image offsets, are whole multiples of a third of a millisecond [Hz]."""
APART_NS = (0, 130_000, 290_000)
"""Added to the phase of each camera: thirds of a millisecond are then never met, so that no stamp lies on the
limit from which on the next set is looked at, or half way between two images, where rounding would decide."""

cameras_in_any_rhythm = st.tuples(*(st.tuples(st.sampled_from(RHYTHMS), st.integers(0, 66)) for _ in CAMERAS))


@settings(deadline=None, max_examples=50)
@given(cameras_in_any_rhythm, st.integers(8, 24), st.sampled_from([1, 2]))
def test_the_first_images_of_a_frame_are_known_as_soon_as_they_are_there(rhythms, interval_steps, images):
    """Whatever the rates of the cameras are, and the times at which they begin, unless two times tie."""
    events = joint_states(8)
    for name, (rate_hz, phase_ms), apart_ns in zip(CAMERAS, rhythms, APART_NS, strict=True):
        events += regular(name, rate_hz, phase_ms * MS + apart_ns, 8)
    events.sort(key=lambda event: event[1])
    together = [list(group) for _, group in groupby(events, key=lambda event: event[1])]
    calls = foresee_calls(together, interval_steps * STEP_NS, images)
    assert len(calls) >= 2
    for foreseen, frame in calls:
        assert foreseen is not None and foreseen.keys() == frame.images.keys()
        assert all(len(chosen) == images for chosen in foreseen.values())
        assert is_right(foreseen, frame)


@pytest.mark.parametrize("rate_hz", [15, 30, 60])
def test_cameras_in_step_that_jitter_and_lose_images_are_nearly_always_foreseen_rightly(rate_hz, figures):
    """Two minutes: stamps up to a millisecond off, images on their way for some, two in a thousand lost."""
    rng = np.random.default_rng(rate_hz)
    events = joint_states(120)
    arrivals_ns = [stamp for _, stamp in events]
    for name in CAMERAS:
        sent = [event for event in regular(name, rate_hz, MS, 120) if rng.random() > 0.002]
        stamps = [stamp + int(rng.integers(-MS, MS)) for _, stamp in sent]
        events += [(name, stamp) for stamp in stamps]
        on_their_way_ns = rng.exponential(5 * MS, len(stamps)).astype(np.int64)
        arrivals_ns += np.maximum.accumulate(stamps + on_their_way_ns).tolist()
    order = np.argsort(arrivals_ns, kind="stable")
    calls = foresee_calls([[events[i]] for i in order], 16 * STEP_NS)
    share = np.mean([is_right(foreseen, frame) for foreseen, frame in calls])
    figures(f"calls of which the first images were foreseen, cameras at {rate_hz} Hz [share]", share)
    assert len(calls) > 100 and share > 0.95


def test_nothing_is_foreseen_before_it_is_known():
    events = [event for event in steady() if event[0] != JOINT_STATES]
    newest_ns = newest(events)
    assert filled(events).foresee(2, newest_ns + 17 * STEP_NS - EARLY_NS) is None, "not there yet"
    assert filled(events).foresee(2, newest_ns + 16 * STEP_NS - EARLY_NS) is not None
    assert filled(events[:3]).foresee(1, newest_ns) is None, "one image has no rhythm"
    assert filled([event for event in events if event[0] != CAMERAS[1]]).foresee(1, newest_ns) is None
    gap = range(newest_ns - 10 * STEP_NS, newest_ns - 5 * STEP_NS)
    others = [event for event in events if event[0] != CAMERAS[1] or event[1] not in gap]
    assert filled(others).foresee(2, newest_ns + 16 * STEP_NS - EARLY_NS) is None, "the first one is missing"


def test_a_small_step_back_is_a_late_arrival():
    buffer = filled(steady())
    assert add(buffer, (CAMERAS[0], START_NS + 33 * MS)) is Added.STORED
    assert buffer.counts()[CAMERAS[0]].restarts == 0


def test_a_clock_that_jumps_back_restarts_the_stream():
    """A bag loops: the first pass must not be mixed with the second."""
    events = steady(duration_s=4.0)
    buffer = filled(events, max_age_s=0.3)
    assert add(buffer, (CAMERAS[0], START_NS)) is Added.RESTARTED
    assert "in the future" in buffer.frame(1, "wave", START_NS).reason
    reason = buffer.frame(1, "wave", START_NS + 4000 * MS).reason
    assert CAMERAS[0] in reason and "jumped back by" in reason
    for event in events[1:]:
        add(buffer, event)
    assert {name: counts.restarts for name, counts in buffer.counts().items()} == dict.fromkeys(
        buffer.counts(), 1
    )
    check_against_naive(buffer, events, 4)


def test_a_stamp_that_comes_twice_replaces_and_is_counted():
    buffer = filled(steady())
    stamp = START_NS + 29 * STEP_NS
    assert buffer.add_image(CAMERAS[0], stamp, image(stamp)) is Added.STORED
    other = np.full((1, 2, 3), 255, np.uint8)
    assert buffer.add_image(CAMERAS[0], stamp, other) is Added.REPLACED
    counts = buffer.counts()[CAMERAS[0]]
    assert (counts.received, counts.replaced) == (32, 1)


def test_memory_is_bounded():
    """A minute of images leaves no more than the span of one stream."""
    buffer = ObservationBuffer(ROBOT, 1.0)
    given = []
    for i in range(15 * 60):
        taken = image(i)
        given.append(weakref.ref(taken))
        buffer.add_image(CAMERAS[0], START_NS + i * STEP_NS, taken)
    del taken
    assert sum(reference() is not None for reference in given) == SPAN_NS // STEP_NS + 1


def test_ages_and_newest_positions():
    buffer = ObservationBuffer(ROBOT, 1.0)
    assert buffer.newest_positions() is None
    add(buffer, (CAMERAS[0], START_NS))
    add(buffer, (JOINT_STATES, START_NS + 5 * MS))
    assert buffer.ages_s(START_NS + 10 * MS) == {
        CAMERAS[0]: pytest.approx(0.01),
        CAMERAS[1]: None,
        CAMERAS[2]: None,
        JOINT_STATES: pytest.approx(0.005),
    }
    stamp_ns, found = buffer.newest_positions()
    assert stamp_ns == START_NS + 5 * MS
    np.testing.assert_array_equal(found, positions(stamp_ns))
    buffer.clear()
    assert set(buffer.ages_s(START_NS).values()) == {None}
    assert buffer.counts()[CAMERAS[0]].received == 1


def test_frames_do_not_change_afterwards():
    """Interpolated or not, positions belong to the frame."""
    buffer = ObservationBuffer(ROBOT, 1.0)
    state = np.ones(8)
    for name in CAMERAS:
        add(buffer, (name, START_NS))
    buffer.add_joint_state(START_NS, state)
    frame = buffer.frame(1, "wave", START_NS)
    frame.positions[:] = 0
    assert buffer.newest_positions()[1].tolist() == [1.0] * 8


def test_wrong_shapes_are_refused():
    buffer = ObservationBuffer(ROBOT, 1.0)
    with pytest.raises(
        ValueError, match=r"camera wrist_image_left: expected an image \(1, 2, 3\), got \(2, 1, 3\)"
    ):
        buffer.add_image("wrist_image_left", START_NS, np.zeros((2, 1, 3), np.uint8))
    with pytest.raises(ValueError, match=r"expected positions \(8,\), got \(7,\)"):
        buffer.add_joint_state(START_NS, np.zeros(7))
    with pytest.raises(ValueError, match="expected 1 or 4, got 2"):
        buffer.frame(2, "wave", START_NS)


def test_threads_may_add_and_ask_at_the_same_time():
    events = steady(duration_s=3.0)
    buffer = ObservationBuffer(ROBOT, 100.0)
    failures: list[BaseException] = []

    def run(work) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    def feed(streams: set[str]) -> None:
        for event in events:
            if event[0] in streams:
                add(buffer, event)

    def ask() -> None:
        for _ in range(300):
            answer = buffer.frame(4, "wave", newest(events))
            if isinstance(answer, Frame):
                for name in CAMERAS:
                    shown = answer.images[name][:, 0, 0, 0].tolist()
                    assert shown == [
                        int(image(stamp)[0, 0, 0]) for stamp in answer.image_stamps_ns[name].tolist()
                    ]

    work = [lambda: feed(set(CAMERAS)), lambda: feed({JOINT_STATES}), ask]
    threads = [threading.Thread(target=run, args=(job,)) for job in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    check_against_naive(buffer, events, 4)
