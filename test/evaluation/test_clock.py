# SPDX-License-Identifier: Apache-2.0
"""Recordings whose log or whose stamps run on another clock are played as if they did not, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
import recordings
from bags import NS, START_NS, STORE, Message
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.clock import LOG_CLOCK, SILENCE_NS, Clock, Stretches
from dreamzero_ros.evaluation.command import NOT_USABLE, USABLE, main
from dreamzero_ros.evaluation.inspection import Inspection, inspect
from dreamzero_ros.evaluation.playback import PlaybackSettings, play
from dreamzero_ros.evaluation.run_command import COMPLETE, INCOMPLETE
from dreamzero_ros.evaluation.spans import Span, Split, spans
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.evaluation.summary import read_summary
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.stand_ins import HoldPolicy

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
STREAMS = streams(ROBOT)
SECONDS = 3.0
MESSAGES = recordings.session(ROBOT, recordings.ramp(ROBOT), SECONDS)
WRIST = f"/{ROBOT.cameras[-1].topic}"
YEAR_NS = 365 * 86400 * NS
OPTIONS = ["--embodiment", "droid_franka", "--policy", "hold", "--latency", "0.22", "--instruction", "wipe"]
SETTINGS = PlaybackSettings(parameters=PolicyParameters(policy="hold"), latency_s=0.22)


def planned(path: Path, **split: Any) -> tuple[Inspection, tuple[Span, ...]]:
    """What is found in a bag, and its episodes."""
    with Bag(path) as bag:
        found = inspect(bag, ROBOT, STREAMS)
        return found, spans(bag, STREAMS, Split(instruction="wipe", **split), found.clock)


def played(path: Path) -> tuple[Inspection, list[tuple[int, float, float]]]:
    """Of each episode through a policy that holds still: calls, error, duration [s]."""
    found, episodes = planned(path)
    folder = path.parent / f"{path.name}_out"
    folder.mkdir()
    rows = []
    for span in episodes:
        episode = play(path, span, ROBOT, STREAMS, HoldPolicy(ROBOT), SETTINGS, folder)
        assert not episode.incomplete
        errors = (episode.calls.targets - episode.calls.recorded)[..., :7]
        rows.append((len(errors), float(np.sqrt(np.nanmean(errors**2))), episode.duration_s))
    return found, rows


def inspected(path: Path, capsys: pytest.CaptureFixture[str], code: int = USABLE) -> str:
    """What `inspect` says, in one line."""
    capsys.readouterr()
    assert main(["inspect", str(path), "--embodiment", "droid_franka"]) == code
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, float, float]:
    _, (row,) = played(bags.write(tmp_path_factory.mktemp("bags") / "sound", MESSAGES))
    assert row[0] == 3
    return row


def note(log_ns: int) -> Message:
    return "/notes", log_ns, STORE.types["std_msgs/msg/String"]("somebody else")


def joints(log_ns: int) -> Message:
    return "/joint_states", log_ns, recordings.joint_state(ROBOT, START_NS, np.zeros(8))


def image(log_ns: int) -> Message:
    return WRIST, log_ns, recordings.image(START_NS, recordings.picture(0, 2))


@pytest.mark.parametrize(
    "others",
    [
        [note(0)],
        [note(86400 * NS)],
        [note(START_NS + YEAR_NS)],
        [note(0), note(START_NS + YEAR_NS)],
        [joints(0)],
        [image(START_NS + YEAR_NS)],
        [note(START_NS - second * NS) for second in range(100)],
    ],
    ids=["at 0", "in 1970", "a year ahead", "both", "joints at 0", "an image ahead", "long before"],
)
def test_messages_far_from_the_robots_change_nothing(tmp_path: Path, others: list[Message]) -> None:
    _, expected = planned(bags.write(tmp_path / "sound", MESSAGES))
    found, episodes = planned(bags.write(tmp_path / "bag", [*MESSAGES, *others]))
    assert found.usable and episodes == expected
    assert bool(found.notices) is (len(others) < 100)


def test_an_evaluation_of_them_ends_and_says_the_same(
    tmp_path: Path, sound: tuple[int, float, float]
) -> None:
    path, out = bags.write(tmp_path / "bag", [*MESSAGES, note(0)]), tmp_path / "out"
    assert main(["run", str(path), *OPTIONS, "--out", str(out)]) == COMPLETE
    summary = read_summary(out)
    (row,) = summary["episodes"]
    assert (row["calls"], row["metrics"]["rmse"], row["duration_s"]) == pytest.approx(sound)
    assert "53.9 years before the robot's" in summary["notices"][0]


def test_a_list_of_times_counts_from_where_the_recording_begins(tmp_path: Path) -> None:
    times = tmp_path / "times.csv"
    times.write_text("0.1,2.9,wipe\n")
    _, expected = planned(bags.write(tmp_path / "plain", MESSAGES), times=times)
    wrong = bags.write(tmp_path / "wrong", [*MESSAGES, note(0), note(START_NS + YEAR_NS)])
    assert planned(wrong, times=times)[1] == expected
    early = bags.write(tmp_path / "early", [note(START_NS - NS), *MESSAGES])
    (span,) = planned(early, times=times)[1]
    assert span.start_ns == START_NS - NS + NS // 10


def test_a_clock_that_is_set_while_it_is_recorded_cuts_the_recording(
    tmp_path: Path, sound: tuple[int, float, float]
) -> None:
    earlier = [(topic, log_ns - START_NS + NS, message) for topic, log_ns, message in shifted(NS - START_NS)]
    found, rows = played(bags.write(tmp_path / "bag", [*earlier, *MESSAGES]))
    assert rows == [pytest.approx(sound), pytest.approx(sound)]
    assert any("2 stretches, more than 60 s apart" in words for words in found.notices)


def test_inspect_says_what_lies_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bags.write(tmp_path / "bag", [*MESSAGES, note(0)])
    said = inspected(path, capsys)
    assert f"{path}: 3.0 s, 7 topics" in said
    assert "logged 53.9 years before the robot's: they take no part" in said


# Stamps


def stamped(message: Any, change: Callable[[int], int]) -> Any:
    """The message with another stamp, where it has one."""
    stamp = message.header.stamp
    at_ns = stamp.sec * NS + stamp.nanosec
    if not at_ns:
        return message
    changed = copy.copy(message)
    changed.header = bags.header(change(at_ns))
    return changed


def shifted(by_ns: int, topic: str = "", other: Callable[[int], int] | None = None) -> list[Message]:
    """The session with other stamps, of all topics or of one."""
    change = other or (lambda at_ns: at_ns + by_ns)
    return [(t, at, stamped(m, change) if topic in (t, "") else m) for t, at, m in MESSAGES]


@pytest.mark.parametrize(
    ("by_ns", "words"),
    [
        (-START_NS + 12 * NS, "53.9 years before the log times"),
        (37 * NS, "37.00 s after the log times"),
        (-NS // 2, "0.50 s before the log times"),
    ],
    ids=["simulation", "TAI", "half a second"],
)
def test_stamps_on_another_clock_are_played_on_it(tmp_path: Path, by_ns: int, words: str) -> None:
    found, (span,) = planned(bags.write(tmp_path / "bag", shifted(by_ns)))
    assert found.usable and any(
        f"{words}: the bag is played on the clock of its stamps" in said for said in found.notices
    )
    assert span.start_ns == START_NS + by_ns and span.logged_ns is not None


def test_a_simulation_gives_the_values_of_the_sound_recording(
    tmp_path: Path, sound: tuple[int, float, float]
) -> None:
    """But for the delay of 2 ms from stamp to log, which nobody can know then."""
    _, (row,) = played(bags.write(tmp_path / "bag", shifted(12 * NS - START_NS)))
    assert row == pytest.approx(sound, rel=5e-3)


def test_a_simulation_that_runs_slower_is_played_in_its_own_time(
    tmp_path: Path, sound: tuple[int, float, float]
) -> None:
    slow = [(topic, START_NS + 3 * (at - START_NS), m) for topic, at, m in shifted(5 * NS - START_NS)]
    _, (row,) = played(bags.write(tmp_path / "bag", slow))
    assert row == pytest.approx(sound, rel=0.02)


def test_a_simulation_that_begins_again_begins_another_episode(
    tmp_path: Path, sound: tuple[int, float, float]
) -> None:
    first = shifted(5 * NS - START_NS)
    second = [(topic, log_ns + 4 * NS, message) for topic, log_ns, message in first]
    _, rows = played(bags.write(tmp_path / "bag", [*first, *second]))
    assert rows == [pytest.approx(sound, rel=0.01), pytest.approx(sound, rel=0.01)]


@pytest.mark.parametrize(("by_s", "side"), [(37, "ahead"), (-1, "behind")])
def test_a_camera_on_its_own_clock_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], by_s: int, side: str
) -> None:
    path = bags.write(tmp_path / "bag", shifted(by_s * NS, WRIST))
    said = inspected(path, capsys, code=NOT_USABLE)
    if by_s == -1:  # the streams are there at the same time, but never fresh together
        assert f"{WRIST} 1.00 s {side}" in said and "one clock" in said
    else:
        assert "beginning" in said and "one clock" in said
    assert main(["run", str(path), *OPTIONS, "--out", str(tmp_path / "out")]) == INCOMPLETE


def test_some_messages_without_a_stamp_leave_a_recording_usable(
    tmp_path: Path,
) -> None:
    last_ns = MESSAGES[-1][1] - NS // 2
    other = [(t, at, stamped(m, lambda _: 0) if t == WRIST and at > last_ns else m) for t, at, m in MESSAGES]
    found, _ = planned(bags.write(tmp_path / "bag", other))
    assert found.usable and any("messages have no stamp" in words for words in found.notices)


# The clock itself

PAIRS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=30)


@given(steps=PAIRS)
def test_the_clock_of_stamps_shows_the_newest_stamp_when_it_comes(steps: list[tuple[int, int]]) -> None:
    logged = np.cumsum([step for step, _ in steps]) + NS
    stamps = np.array([stamp + 1 for _, stamp in steps])  # less than a jump apart
    clock = Clock(zip(logged.tolist(), stamps.tolist(), strict=True))
    for log_ns in logged.tolist():
        newest = int(stamps[: int(np.searchsorted(logged, log_ns, "right"))].max())
        earlier = int(stamps[: int(np.searchsorted(logged, log_ns))].max(initial=0))
        assert newest <= clock.at(log_ns) <= stamps.max()
        assert clock.logged(newest) <= log_ns
        assert clock.at(log_ns) == newest or newest == earlier


@given(at_ns=st.integers(0, 2**62))
def test_the_clock_of_the_log_is_the_log(at_ns: int) -> None:
    assert LOG_CLOCK.at(at_ns) == LOG_CLOCK.logged(at_ns) == at_ns


@given(st.lists(st.integers(0, 3 * SILENCE_NS), min_size=1))
def test_stretches_hold_every_message_and_no_silence(gaps_ns: list[int]) -> None:
    times = np.cumsum(gaps_ns).tolist()
    stretches = Stretches()
    for at_ns in times:
        stretches.add(at_ns)
    found = stretches.found
    assert all(any(a <= at_ns <= b for a, b in found) for at_ns in times)
    assert all(c - b > SILENCE_NS for (_, b), (c, _) in pairwise(found))
    assert len(found) == 1 + sum(gap_ns > SILENCE_NS for gap_ns in gaps_ns[1:])
