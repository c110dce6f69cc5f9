# SPDX-License-Identifier: Apache-2.0
"""Bags played through policies whose errors are known, and with latencies whose consequences are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import bags
import cv2
import numpy as np
import pytest
import recordings
from bags import NS, START_NS

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation import episode
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.episode import Episode
from dreamzero_ros.evaluation.playback import PlaybackSettings, play
from dreamzero_ros.evaluation.recorded import RecordedPolicy
from dreamzero_ros.evaluation.reference import Reference
from dreamzero_ros.evaluation.spans import Span
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.motion.timeline import due_times_ns
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.stand_ins import HoldPolicy

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
STREAMS = streams(ROBOT)
SECONDS = 8.0
HOLD = PolicyParameters(policy="hold")
TINY = PolicyParameters(random_weights="tiny", device="cpu", dtype="float32")
RAMP, WAVE = recordings.ramp(ROBOT), recordings.wave(ROBOT)
ARM = slice(0, 7)


@pytest.fixture(scope="module")
def ramp_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The joints move with constant speed; without commands."""
    folder = tmp_path_factory.mktemp("bags") / "ramp"
    return bags.write(folder, recordings.session(ROBOT, RAMP, SECONDS, commands=False))


@pytest.fixture(scope="module")
def wave_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The joints are commanded to swing, and do."""
    return bags.write(tmp_path_factory.mktemp("bags") / "wave", recordings.session(ROBOT, WAVE, SECONDS))


@pytest.fixture(scope="module")
def tiny() -> Policy:
    """A model with random weights."""
    return make_policy(TINY, ROBOT, lambda: 0)[0]


def whole(path: Path) -> Span:
    with Bag(path) as bag:
        return Span(number=0, start_ns=bag.start_ns, end_ns=bag.end_ns, instruction="move")


def played(path: Path, policy: Policy, folder: Path, span: Span | None = None, **settings: object) -> Episode:
    settings = {"parameters": HOLD, "latency_s": 0.0} | settings
    try:
        return play(path, span or whole(path), ROBOT, STREAMS, policy, PlaybackSettings(**settings), folder)
    finally:
        policy.close()


def recorded_policy(path: Path) -> RecordedPolicy:
    return RecordedPolicy(ROBOT, Reference(path, ROBOT, STREAMS, whole(path).start_ns))


def due_s(found: Episode) -> np.ndarray:
    """(K, A) when targets are due [s after the first stamp]."""
    A = found.calls.targets.shape[1]
    return (np.stack([due_times_ns(t, found.dt_s, A) for t in found.calls.captured_ns]) - START_NS) / NS


def test_who_knows_the_commands_makes_no_errors(wave_bag: Path, tmp_path: Path) -> None:
    """The recorded commands lie on the motion at the rate of the commands: in between up to 2 mrad away."""
    found = played(wave_bag, recorded_policy(wave_bag), tmp_path)
    calls = found.calls
    assert found.reference == "commands" and len(calls.used) >= 5
    np.testing.assert_array_equal(calls.targets, calls.recorded)
    truth = np.array([[WAVE(min(at, SECONDS)) for at in row] for row in due_s(found)])
    np.testing.assert_allclose(calls.recorded, truth, atol=2e-3)
    assert not found.holds and not calls.late.any()


def test_holding_still_is_wrong_by_the_motion(ramp_bag: Path, tmp_path: Path) -> None:
    """At the i-th target by the speed times (i + 1) control steps, to the nanosecond of the stamps."""
    found = played(ramp_bag, HoldPolicy(ROBOT), tmp_path)
    calls = found.calls
    speed = RAMP(1.0) - RAMP(0.0)
    ahead_s = found.dt_s * np.arange(1, ROBOT.horizon + 1)
    expected = np.broadcast_to(-ahead_s[:, None] * speed, calls.targets.shape)
    known = ~np.isnan(calls.recorded)
    assert found.reference == "joint states" and known.mean() > 0.7
    assert known[:, :, 0].sum() == (due_s(found) <= SECONDS - 1 / recordings.JOINT_RATE_HZ + 1e-9).sum()
    np.testing.assert_allclose((calls.targets - calls.recorded)[known], expected[known], atol=1e-9)
    np.testing.assert_allclose(calls.positions[:, None] - calls.targets, 0, atol=1e-9)


def test_who_repeats_a_motion_of_constant_speed_makes_no_errors(ramp_bag: Path, tmp_path: Path) -> None:
    calls = played(ramp_bag, HoldPolicy(ROBOT), tmp_path).calls
    early = np.isnan(calls.repeated).any(axis=(1, 2))
    captured_s = (calls.captured_ns - START_NS) / NS
    np.testing.assert_array_equal(early, captured_s < ROBOT.horizon * ROBOT.dt_s)
    known = ~np.isnan(calls.recorded) & ~early[:, None, None]
    np.testing.assert_allclose(calls.repeated[known], calls.recorded[known], atol=1e-9)


def test_the_episode_says_what_was_measured_and_comes_back_from_its_files(
    ramp_bag: Path, tmp_path: Path
) -> None:
    found = played(ramp_bag, HoldPolicy(ROBOT), tmp_path)
    intervals_s = np.diff(found.measured_ns) / NS
    assert len(found.measured) == pytest.approx(SECONDS * ROBOT.control_rate_hz, abs=1)
    assert intervals_s.min() >= 0.9 * found.dt_s
    np.testing.assert_allclose(
        found.measured, [RAMP((at - START_NS) / NS) for at in found.measured_ns], atol=1e-9
    )
    assert found.stages == ("capture", "command") and (found.calls.image_age_s < 0.003).all()
    assert found.settings["seed"] == HOLD.seed and found.settings["latency_s"] == 0.0
    assert found.units == ("rad",) * 7 + ("m",) and found.grippers == (found.joints[7],)
    episode.save(found, tmp_path)
    again = episode.load(tmp_path)
    np.testing.assert_array_equal(again.calls.targets, found.calls.targets)
    assert again.notices == found.notices


def test_an_answer_in_time_drops_what_is_due_by_then(ramp_bag: Path, tmp_path: Path) -> None:
    """The splice is one control step after the answer; targets before it are dropped."""
    found = played(ramp_bag, recorded_policy(ramp_bag), tmp_path, latency_s=0.5)
    calls = found.calls
    np.testing.assert_array_equal(calls.answered_ns - calls.asked_ns, NS // 2)
    splice_s = (calls.answered_ns - calls.captured_ns) / NS + found.dt_s
    np.testing.assert_array_equal(calls.dropped, np.ceil(splice_s / found.dt_s - 1e-9) - 1)
    np.testing.assert_array_equal(calls.used, ROBOT.horizon - calls.dropped)
    assert not calls.late.any() and not found.holds
    np.testing.assert_allclose(calls.observation_age_s, (calls.answered_ns - calls.captured_ns) / NS)
    for row, dropped in zip(calls.planned, calls.dropped, strict=True):
        assert np.isnan(row[:dropped]).all() and np.isfinite(row[dropped:]).all()


@pytest.mark.parametrize(
    ("share", "reason"), [(0.6, "the next chunk is late"), (1.2, "after its last target")]
)
def test_slow_answers_are_late_as_live(ramp_bag: Path, tmp_path: Path, share: float, reason: str) -> None:
    """As in closed loop: from 0.6 of a chunk on, every one but the first is late."""
    latency_s = share * ROBOT.horizon * ROBOT.dt_s
    found = played(ramp_bag, recorded_policy(ramp_bag), tmp_path, latency_s=latency_s)
    calls = found.calls
    assert len(calls.late) >= 3
    np.testing.assert_array_equal(calls.late, [False] + [True] * (len(calls.late) - 1))
    assert (calls.used > 0).all() == (share < 1)
    assert sum(count for words, count in found.holds.items() if reason in words) >= len(calls.late) - 1


def test_what_a_call_took_and_what_is_added_is_the_latency(ramp_bag: Path, tmp_path: Path) -> None:
    parameters = dataclasses.replace(HOLD, added_latency_s=0.25)
    found = played(ramp_bag, HoldPolicy(ROBOT), tmp_path, latency_s=None, parameters=parameters)
    took_s = (found.calls.answered_ns - found.calls.asked_ns) / NS
    assert ((took_s > 0.25) & (took_s < 0.5)).all()


def test_chunks_that_must_not_be_executed_are_counted_by_reason(wave_bag: Path, tmp_path: Path) -> None:
    class Jumping(HoldPolicy):
        def infer(self, frame: Frame) -> ActionChunk:
            chunk = super().infer(frame)
            return dataclasses.replace(chunk, targets=chunk.targets + 0.6 * (ARM.stop > np.arange(8)))

    found = played(wave_bag, Jumping(ROBOT), tmp_path, latency_s=0.2)
    assert (found.calls.used == 0).all() and np.isnan(found.calls.planned).all()
    assert sum(found.holds.values()) == len(found.calls.used)
    assert all("first target of panda_joint" in words and "…, measured …" in words for words in found.holds)


def test_a_failing_policy_ends_the_run_as_live(wave_bag: Path, tmp_path: Path) -> None:
    class Failing(HoldPolicy):
        calls = 0

        def infer(self, frame: Frame) -> ActionChunk:
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError("out of everything")
            return super().infer(frame)

    found = played(wave_bag, Failing(ROBOT), tmp_path)
    assert len(found.calls.used) == 2 and found.holds == {"out of everything": 1}
    assert "RuntimeError: out of everything" in found.notices[-1]


def test_a_pause_of_a_camera_holds_the_arm_and_begins_a_new_session(tmp_path: Path) -> None:
    messages = recordings.session(ROBOT, RAMP, SECONDS, commands=False)
    wrist = f"/{ROBOT.cameras[-1].topic}"
    paused = [m for m in messages if not (m[0] == wrist and 3 * NS < m[1] - START_NS < 4 * NS)]
    found = played(bags.write(tmp_path / "bag", paused), HoldPolicy(ROBOT), tmp_path)
    assert list(found.holds.values()) == [1]
    assert "camera wrist_image_left: newest image is … ms old" in next(iter(found.holds))
    assert found.calls.new_session.sum() == 2
    assert np.isnan(found.calls.raw_jump[found.calls.new_session]).all()


def test_joint_states_in_parts_are_played_as_whole_ones(tmp_path: Path) -> None:
    """An arm and its hand apart, and wheels between them: bit by bit the same episode."""
    messages = recordings.session(ROBOT, RAMP, 3.0, commands=False)
    paths = [
        bags.write(tmp_path / "parts", bags.in_parts(messages)),
        bags.write(tmp_path / "whole", messages),
    ]
    found, expected = (played(path, HoldPolicy(ROBOT), tmp_path / "episode", latency_s=0.2) for path in paths)
    assert len(expected.calls.used) >= 2 and found.notices == expected.notices
    for name in ("captured_ns", "targets", "planned", "recorded"):
        np.testing.assert_array_equal(getattr(found.calls, name), getattr(expected.calls, name))
    np.testing.assert_array_equal(found.measured_ns, expected.measured_ns)
    np.testing.assert_array_equal(found.measured, expected.measured)


def test_messages_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    messages = recordings.session(ROBOT, RAMP, 4.0, commands=False)
    for _, _, message in messages[20:40]:
        if hasattr(message, "encoding"):
            message.encoding = "bayer"
        elif hasattr(message, "name"):
            message.position = np.full(len(message.name), np.nan)
    found = played(bags.write(tmp_path / "bag", messages), HoldPolicy(ROBOT), tmp_path)
    said = " | ".join(found.notices)
    for words in ("joint_states: ", "wrist_image_left: ", "messages cannot be used, the first:", "64x36"):
        assert words in said


def test_an_episode_begins_with_what_was_seen_before_it(ramp_bag: Path, tiny: Policy, tmp_path: Path) -> None:
    """A policy that needs images of the past is asked at once, not after the time that they reach back."""
    span = Span(number=3, start_ns=START_NS + 4 * NS, end_ns=START_NS + 6 * NS, instruction="move")
    found = played(ramp_bag, tiny, tmp_path, span, parameters=TINY)
    assert span.start_ns <= found.calls.asked_ns[0] < span.start_ns + NS // 10
    assert found.measured_ns[0] >= span.start_ns - NS // 10 and found.number == 3
    first = played(ramp_bag, tiny, tmp_path, parameters=TINY)
    assert first.calls.asked_ns[0] > START_NS + 1.4 * NS


def test_dreams_are_compared_with_what_came(wave_bag: Path, tiny: Policy, tmp_path: Path) -> None:
    found = played(wave_bag, tiny, tmp_path, parameters=TINY, latency_s=0.2)
    calls, count = found.calls, tiny.imagined().shape[0]
    assert calls.psnr.shape == calls.ssim.shape == (len(calls.used), count)
    due_ns = calls.captured_ns[:, None] + np.arange(1, count + 1) * (NS // 5)
    last_ns = START_NS + round(SECONDS * NS) - NS // recordings.CAMERA_RATE_HZ
    np.testing.assert_array_equal(np.isfinite(calls.psnr), due_ns <= last_ns)
    np.testing.assert_array_equal(np.isfinite(calls.ssim), due_ns <= last_ns)
    assert {"prepare", "capture", "command"} < set(found.stages)
    assert (np.diff(found.pictures_ns) > 0).all()
    observed = sorted(path.name for path in (tmp_path / "observed").iterdir())
    assert observed == [f"{index:06d}.jpg" for index in range(len(found.pictures_ns))]
    dreamed = {path.name for path in (tmp_path / "dreamed").iterdir()}
    assert dreamed <= set(observed) and len(dreamed) > len(observed) / 2
    assert cv2.imread(str(tmp_path / "observed" / observed[0])).shape == (96, 160, 3)


def test_who_dreams_what_comes_is_alike_at_every_time(tmp_path: Path) -> None:
    """The cameras see one shade that changes from image to image: a dream an image late is not alike."""

    def shade(at_ns: int) -> int:
        return 20 + 12 * round((at_ns - START_NS) / NS * recordings.CAMERA_RATE_HZ) % 200

    class Seer(HoldPolicy):
        late_ns = 0

        def infer(self, frame: Frame) -> ActionChunk:
            self.stamp_ns = frame.stamp_ns
            return super().infer(frame)

        def imagined(self) -> np.ndarray:
            times_ns = [self.stamp_ns + step * NS // 5 - self.late_ns for step in range(1, 9)]
            return np.stack([np.full((44, 80, 3), shade(at_ns), np.uint8) for at_ns in times_ns])

    messages = recordings.session(ROBOT, RAMP, SECONDS)
    for _, _, message in messages:
        if hasattr(message, "encoding"):
            message.data = np.full_like(message.data, shade(stamp_ns(message)))
    path = bags.write(tmp_path / "bag", messages)
    in_time, late = Seer(ROBOT), Seer(ROBOT)
    late.late_ns = NS // recordings.CAMERA_RATE_HZ
    calls, others = (played(path, policy, tmp_path / "episode").calls for policy in (in_time, late))
    compared = ~np.isnan(calls.psnr)
    assert compared.sum() > 20
    assert (calls.psnr[compared] > 45).all() and (calls.ssim[compared] > 0.99).all()
    assert (others.psnr[compared] < 30).all()


def test_progress_is_the_time_reached(ramp_bag: Path, tmp_path: Path) -> None:
    reached: list[int] = []
    take: Callable[[int], None] = reached.append
    settings = PlaybackSettings(parameters=HOLD, latency_s=0.0)
    span = whole(ramp_bag)
    play(ramp_bag, span, ROBOT, STREAMS, HoldPolicy(ROBOT), settings, tmp_path, take)
    assert reached == sorted(reached) and reached[-1] == span.end_ns
