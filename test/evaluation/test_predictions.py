# SPDX-License-Identifier: Apache-2.0
"""Predictions, read back as recordings are, are what the episodes hold, at the times of the bag."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from episodes import DT_S, NS, START_NS, make_episode, replace, waves
from reports import DREAMED_EVERY, save_pictures
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Writer

from dreamzero_ros.evaluation.bag import Bag, Logged
from dreamzero_ros.evaluation.episode import Episode, save
from dreamzero_ros.evaluation.measures import call_errors
from dreamzero_ros.evaluation.predictions import CALLS, PICTURES, PLANNED, RMSE, TARGETS, write_predictions
from dreamzero_ros.observation.decode import stamp_ns

pytestmark = pytest.mark.cpu

OBSERVED_TOPIC, DREAMED_TOPIC = PICTURES["observed"], PICTURES["dreamed"]
TYPES = {
    TARGETS: "trajectory_msgs/msg/JointTrajectory",
    PLANNED: "trajectory_msgs/msg/JointTrajectory",
    RMSE: "std_msgs/msg/Float64",
    CALLS: "diagnostic_msgs/msg/DiagnosticArray",
    OBSERVED_TOPIC: "sensor_msgs/msg/CompressedImage",
    DREAMED_TOPIC: "sensor_msgs/msg/CompressedImage",
}


def finished(episode: Episode, folder: Path) -> Path:
    save_pictures(folder, len(episode.pictures_ns))
    save(episode, folder)
    return folder


def later(episode: Episode, by_s: float, **other: Any) -> Episode:
    """The same some time after."""
    by_ns = round(by_s * NS)
    names = ("captured_ns", "asked_ns", "answered_ns")
    calls = {name: getattr(episode.calls, name) + by_ns for name in names}
    own = {name: getattr(episode, name) + by_ns for name in ("start_ns", "end_ns", "pictures_ns")}
    return replace(episode, **calls, **own, **other)


def read(path: Path) -> dict[str, list[Logged]]:
    found = defaultdict(list)
    with Bag(path) as bag:
        for logged in bag.messages(bag.topics):
            found[logged.topic].append(logged)
    return found


def log_times(messages: list[Logged]) -> list[int]:
    return [logged.log_ns for logged in messages]


def due_ns(point: Any) -> int:
    return int(point.time_from_start.sec) * NS + int(point.time_from_start.nanosec)


@pytest.fixture(scope="module")
def episode() -> Episode:
    """Its call 3 was refused, its call 4 cannot be compared."""
    made = make_episode(predicted=lambda t_s: waves(t_s) + 0.1, calls=8)
    planned, recorded, used = made.calls.planned.copy(), made.calls.recorded.copy(), made.calls.used.copy()
    planned[3], used[3], recorded[4] = np.nan, 0, np.nan
    return replace(made, planned=planned, used=used, recorded=recorded)


@pytest.fixture(scope="module")
def folder(episode: Episode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(episode, tmp_path_factory.mktemp("episodes") / "bag-000")


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Logged]]:
    path = tmp_path_factory.mktemp("predictions") / "bag.mcap"
    write_predictions([folder], path)
    return read(path)


def test_viewers_know_the_types_and_find_an_index(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bag.mcap"
    write_predictions([folder], path)
    with Bag(path) as bag:
        assert {name: topic.type for name, topic in bag.topics.items()} == TYPES
        assert not bag.notes, "it has an index"
    with AnyReader([path]) as reader:
        assert reader.message_count == sum(map(len, read(path).values()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bag.mcap"]


def test_targets_are_those_of_the_policy(episode: Episode, found: dict[str, list[Logged]]) -> None:
    assert log_times(found[TARGETS]) == episode.calls.answered_ns.tolist()
    for call, logged in enumerate(found[TARGETS]):
        message = logged.message
        assert stamp_ns(message) == episode.calls.captured_ns[call]
        assert tuple(message.joint_names) == episode.joints
        np.testing.assert_array_equal([p.positions for p in message.points], episode.calls.targets[call])
        due_s = DT_S * np.arange(1, len(message.points) + 1)
        np.testing.assert_allclose([due_ns(p) / NS for p in message.points], due_s, atol=1e-9)


def test_planned_ones_are_those_that_are_followed(episode: Episode, found: dict[str, list[Logged]]) -> None:
    followed = [call for call in range(8) if call != 3]
    assert log_times(found[PLANNED]) == episode.calls.answered_ns[followed].tolist()
    for call, logged in zip(followed, found[PLANNED], strict=True):
        points, dropped = logged.message.points, int(episode.calls.dropped[call])
        assert stamp_ns(logged.message) == episode.calls.captured_ns[call]
        np.testing.assert_array_equal([p.positions for p in points], episode.calls.planned[call, dropped:])
        assert due_ns(points[0]) == pytest.approx(DT_S * (dropped + 1) * NS, abs=1)


def test_errors_are_there_where_something_can_be_compared(
    episode: Episode, found: dict[str, list[Logged]]
) -> None:
    compared = [call for call in range(8) if call != 4]
    assert log_times(found[RMSE]) == episode.calls.answered_ns[compared].tolist()
    errors = [logged.message.data for logged in found[RMSE]]
    np.testing.assert_array_equal(errors, call_errors(episode)[compared])
    np.testing.assert_allclose(errors, 0.1)


def test_calls_say_what_became_of_them(episode: Episode, found: dict[str, list[Logged]]) -> None:
    calls = episode.calls
    assert log_times(found[CALLS]) == calls.answered_ns.tolist()
    for call, logged in enumerate(found[CALLS]):
        (status,) = logged.message.status
        values = {pair.key: pair.value for pair in status.values}
        assert stamp_ns(logged.message) == calls.answered_ns[call]
        assert values["call"] == str(call) and values["new session"] == str(call == 0)
        assert values["targets used"] == str(calls.used[call])
        assert values["targets dropped"] == str(calls.dropped[call])
        assert values["limit hits"] == str(calls.limit_hits[call])
        assert float(values["age of the observation [s]"]) == calls.observation_age_s[call]
        assert [float(values[f"age of {name} [s]"]) for name in episode.cameras] == list(
            calls.image_age_s[call]
        )
        assert [float(values[f"stage {name} [s]"]) for name in episode.stages] == list(calls.stages_s[call])
        warned = [calls.late[call], call == 3, calls.limit_hits[call] > 0]
        assert [words in status.message for words in ("late", "not used", "limits hit")] == warned
        assert status.level == any(warned), "a warning is 1"


def test_pictures_are_the_files(episode: Episode, folder: Path, found: dict[str, list[Logged]]) -> None:
    for kind, every in (("observed", 1), ("dreamed", DREAMED_EVERY)):
        files = [path.read_bytes() for path in sorted((folder / kind).iterdir())]
        messages = found[PICTURES[kind]]
        assert log_times(messages) == episode.pictures_ns[::every].tolist()
        for logged, content in zip(messages, files, strict=True):
            assert stamp_ns(logged.message) == logged.log_ns
            assert logged.message.format == "jpeg" and logged.message.data.tobytes() == content


def test_episodes_follow_one_another_in_log_order(
    episode: Episode, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = finished(later(episode, 60, number=1), tmp_path / "bag-001")
    written: list[int] = []
    write = Writer.write

    def watched(writer: Writer, connection: Connection, log_ns: int, data: bytes) -> None:
        written.append(log_ns)
        write(writer, connection, log_ns, data)

    monkeypatch.setattr(Writer, "write", watched)
    write_predictions([second, folder], tmp_path / "bag.mcap")
    numbers = [logged.message.status[0].values[0].value for logged in read(tmp_path / "bag.mcap")[CALLS]]
    assert numbers == ["0"] * 8 + ["1"] * 8
    assert written == sorted(written) and written[0] == START_NS


def test_an_episode_without_calls(tmp_path: Path) -> None:
    episode = make_episode(calls=1)
    none = {name: value[:0] for name, value in vars(episode.calls).items() if isinstance(value, np.ndarray)}
    folder = finished(replace(episode, **none), tmp_path / "bag-000")
    write_predictions([folder], tmp_path / "bag.mcap")
    assert set(read(tmp_path / "bag.mcap")) == set(PICTURES.values())


@pytest.mark.parametrize("broken", ["episode.json", "observed/000002.jpg"])
def test_what_was_there_stays_when_something_is_missing(
    episode: Episode, broken: str, tmp_path: Path
) -> None:
    folder, path = finished(episode, tmp_path / "bag-000"), tmp_path / "bag.mcap"
    path.write_bytes(b"of before")
    (folder / broken).unlink()
    with pytest.raises((ValueError, OSError), match=broken.rpartition("/")[2]):
        write_predictions([folder], path)
    assert path.read_bytes() == b"of before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bag-000", "bag.mcap"]
