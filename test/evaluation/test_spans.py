# SPDX-License-Identifier: Apache-2.0
"""Bags are cut where their streams pause, where a topic or a list says so, or not at all."""

from __future__ import annotations

from pathlib import Path

import bags
import pytest
from bags import NS, START_NS, STORE

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.spans import Span, Split, spans
from dreamzero_ros.evaluation.streams import streams

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
STREAMS = streams(ROBOT)
DELAY_NS = 2_000_000


def text(words: str) -> object:
    return STORE.types["std_msgs/msg/String"](words)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s at 5 Hz: the wrist camera pauses from 4 to 6 s, joint states from 5 to 7 s; two instructions."""
    messages = bags.session(ROBOT, 12.0, rate_hz=5, delay_ns=DELAY_NS)
    wrist = f"/{ROBOT.cameras[-1].topic}"

    def paused(topic: str, log_ns: int) -> bool:
        seconds = (log_ns - DELAY_NS - START_NS) / NS
        return (topic == wrist and 4 < seconds < 6) or (topic == "/joint_states" and 5 < seconds < 7)

    kept = [entry for entry in messages if not paused(entry[0], entry[1])]
    said = [(1, "take the cup"), (2.5, "put it down"), (6, ""), (9, "wave"), (11, "too short")]
    kept += [("/task", START_NS + round(at * NS), text(words)) for at, words in said]
    folder = tmp_path_factory.mktemp("bags") / "bag"
    return bags.write(folder, sorted(kept, key=lambda entry: entry[1]))


def found(path: Path, split: Split) -> list[tuple[float, float, str]]:
    """Begin and end [s after the first stamp], and the instruction."""
    with Bag(path) as bag:
        made = spans(bag, STREAMS, split)
    assert [span.number for span in made] == list(range(len(made)))
    return [((s.start_ns - START_NS) / NS, (s.end_ns - START_NS) / NS, s.instruction) for s in made]


def test_without_a_rule_the_bag_is_one_episode(path: Path) -> None:
    with Bag(path) as bag:
        (span,) = spans(bag, STREAMS, Split(instruction="go"))
        assert span == Span(number=0, start_ns=bag.start_ns, end_ns=bag.end_ns, instruction="go")


def test_a_pause_of_any_required_stream_ends_an_episode(path: Path) -> None:
    for gap_s in (0.5, 1.9):
        assert found(path, Split(instruction="go", gap_s=gap_s)) == [
            (0.002, 4.002, "go"),
            (7.002, 11.802, "go"),
        ]
    assert found(path, Split(instruction="go", gap_s=2.1)) == [(0.002, 11.802, "go")]
    assert found(path, Split(instruction="go", gap_s=0.5, shortest_s=4.5)) == [(7.002, 11.802, "go")]


def test_a_topic_says_what_and_when(path: Path) -> None:
    assert found(path, Split(topic="/task", shortest_s=1.0)) == [
        (1.0, 2.5, "take the cup"),
        (2.5, 6.0, "put it down"),
        (9.0, 11.0, "wave"),
    ]


def test_a_list_says_what_and_when(path: Path, tmp_path: Path) -> None:
    times = tmp_path / "times.csv"
    times.write_text('# begin, end\n0.5, 1.5, "take the cup"\n\n2 4 put it down, gently\n5,11\n')
    assert found(path, Split(times=times, instruction="go")) == [
        (0.502, 1.502, "take the cup"),
        (2.002, 4.002, "put it down, gently"),
        (5.002, 11.002, "go"),
    ]


@pytest.mark.parametrize(
    "line", ["1", "a, b, c", "2, 1", "-1, 3", "1, 99", "nan, 3", "begin,end", '1,2,"open']
)
def test_lines_that_say_nothing_are_named(path: Path, tmp_path: Path, line: str) -> None:
    times = tmp_path / "times.csv"
    times.write_text(f"0 1 fine\n{line}\n")
    with pytest.raises(ValueError, match=r"times\.csv, line 2: expected"):
        found(path, Split(times=times, instruction="go"))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (Split(), "episode 0: expected an instruction"),
        (Split(instruction="go", shortest_s=60), "expected an episode of 60 s or more, got none"),
        (Split(topic="/taks"), "did you mean '/task'"),
        (Split(topic="/joint_states"), "expected a topic of type std_msgs/msg/String"),
    ],
)
def test_bags_without_episodes_are_refused(path: Path, split: Split, words: str) -> None:
    with pytest.raises(BagError, match=words):
        found(path, split)


def test_two_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="got gap_s and topic"):
        Split(gap_s=1.0, topic="/task")


@pytest.mark.parametrize("storage", list(bags.StoragePlugin))
def test_reading_begins_and_ends_where_it_is_told(tmp_path: Path, storage: bags.StoragePlugin) -> None:
    path = bags.write(tmp_path / "bag", bags.session(ROBOT, 4.0, rate_hz=5), storage)
    with Bag(path) as bag:
        everything = [m.log_ns for m in bag.messages({"/joint_states"})]
        start_ns, stop_ns = everything[3], everything[7]
        assert [m.log_ns for m in bag.messages({"/joint_states"}, start_ns, stop_ns)] == everything[3:7]
        assert list(bag.log_times({"/joint_states"})) == [("/joint_states", log_ns) for log_ns in everything]
