# SPDX-License-Identifier: Apache-2.0
"""A bag played into the running policy node, and the same bag played offline: the model sees the same.

Simulated time stands still until the node has answered where it answers offline, so that the latency is the
same on every machine: none.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import bags
import numpy as np
import pytest
import recordings
from bags import NS, START_NS
from rclpy.node import Node
from ros_graph import TINY, Graph, Operator
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.episode import Episode
from dreamzero_ros.evaluation.playback import PlaybackSettings, play
from dreamzero_ros.evaluation.spans import Split, spans
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.motion.timeline import due_times_ns
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.wrapper import PolicyWrapper
from dreamzero_ros.ros.messages import time_message, trajectory_of
from dreamzero_ros.ros.qos import CLOCK, REPORT

pytestmark = pytest.mark.ros

SHIPPED = Path(__file__).parents[2] / "config" / "embodiments" / "droid_franka.yaml"
ROBOT = dataclasses.replace(load("droid_franka"), execute_steps=16)
"""So many leave room for any latency: when to look next does not depend on it."""
STREAMS = streams(ROBOT)
SECONDS = 6.0
INSTRUCTION = "put the cup on the plate"
SETTINGS = {**TINY, "dry_run": True, "latency_quantile": 0.0}
"""Nobody obeys, as in a recording; pacing counts on the least latency, so not on that of the warm-up."""


class Watched(PolicyWrapper):
    """Keeps what the model saw."""

    def __init__(self, policy: PolicyWrapper) -> None:
        super().__init__(policy, "watched")
        self.seen: list[np.ndarray] = []

    def infer(self, frame: Frame) -> ActionChunk:
        chunk = super().infer(frame)
        self.seen.append(chunk.canvas[-1])
        return chunk


class Player(Node):
    """Publishes messages of a bag and their log times, one at a time."""

    def __init__(self, graph: Graph) -> None:
        super().__init__("player", context=graph.context)
        self._clock_publisher = self.create_publisher(Clock, "/clock", CLOCK)
        kinds = {"/joint_states": JointState} | {f"/{camera.topic}": Image for camera in ROBOT.cameras}
        self._streams = {topic: self.create_publisher(kind, topic, REPORT) for topic, kind in kinds.items()}
        graph.executor.add_node(self)

    def ready(self) -> bool:
        return all(publisher.get_subscription_count() for publisher in self._streams.values())

    def set_time(self, now_ns: int) -> None:
        self._clock_publisher.publish(Clock(clock=time_message(now_ns)))

    def play(self, topic: str, message: object) -> None:
        if topic in self._streams:
            self._streams[topic].publish(bytes(bags.STORE.serialize_cdr(message, message.__msgtype__)))


@dataclass
class Both:
    """The same bag, twice."""

    episode: Episode
    seen: list[np.ndarray]
    """What the model saw offline."""
    live: Operator


@pytest.fixture(scope="module")
def both(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Both:
    messages = recordings.session(ROBOT, recordings.wave(ROBOT), SECONDS)
    folder = tmp_path_factory.mktemp("offline")
    episode, seen = offline(bags.write(folder / "bag", messages), folder)
    file = folder / SHIPPED.name
    file.write_text(SHIPPED.read_text().replace("execute_steps: 24", "execute_steps: 16"))
    graph.start("policy_node", autostart=True, use_sim_time=True, embodiment=file, **SETTINGS)
    player, operator = Player(graph), Operator(graph, ROBOT, pictures=True)
    now_ns = START_NS - 1000 * NS

    def active() -> bool:
        nonlocal now_ns
        now_ns += NS // 10
        player.set_time(now_ns)
        return operator.ready and player.ready()

    graph.wait(active, "an active policy node")
    operator.run(INSTRUCTION)
    due = [int(at_ns) for at_ns in episode.calls.answered_ns]
    for topic, log_ns, message in messages:
        player.set_time(log_ns)
        operator.lifecycle()
        player.play(topic, message)
        operator.lifecycle()
        answers = sum(at_ns <= log_ns for at_ns in due)
        chunks, observed = operator.recording.chunks, operator.recording.observed
        words = f"answer {answers} after {(log_ns - START_NS) / NS:.3f} s"
        graph.wait(lambda: min(len(chunks), len(observed)) >= answers, words)  # noqa: B023 - called at once
    assert graph.processes.stop() == {"policy_node": 0}
    return Both(episode, seen, operator)


def offline(path: Path, folder: Path) -> tuple[Episode, list[np.ndarray]]:
    parameters = PolicyParameters(**SETTINGS)
    policy = Watched(make_policy(parameters, ROBOT, lambda: 0)[0])
    with Bag(path) as bag:
        (span,) = spans(bag, STREAMS, Split(instruction=INSTRUCTION))
    settings = PlaybackSettings(parameters=parameters, latency_s=0.0)
    return play(path, span, ROBOT, STREAMS, policy, settings, folder), policy.seen


def test_the_policy_is_asked_about_the_same_moments(both: Both) -> None:
    stamps = [message.header.stamp for message in both.live.recording.chunks]
    live_ns = [stamp.sec * NS + stamp.nanosec for stamp in stamps]
    assert live_ns == both.episode.calls.captured_ns.tolist()
    assert len(live_ns) >= 4


def test_the_model_sees_the_same_bit_by_bit(both: Both) -> None:
    for (_, live), seen in zip(both.live.recording.observed, both.seen, strict=True):
        np.testing.assert_array_equal(live, seen)
    assert len({image.tobytes() for image in both.seen}) == len(both.seen), "not the same picture every time"


def test_the_model_answers_the_same_bit_by_bit(both: Both) -> None:
    calls = both.episode.calls
    for live, targets in zip(both.live.recording.chunks, calls.targets, strict=True):
        np.testing.assert_array_equal(np.reshape(live.targets, targets.shape), targets)


def test_both_encode_images_ahead(both: Both) -> None:
    """Offline wherever a window goes on; the node may have been too busy for it on a loaded machine."""
    calls = both.episode.calls
    stages = list(both.episode.stages)
    begin, ahead = (
        (~np.isnan(calls.stages_s[:, stages.index(name)])).tolist() for name in ("image", "video_rest")
    )
    assert "video_encode" not in stages and ahead == [not first for first in begin]
    live = [status.stages for status in both.live.recording.statuses]
    assert any("video_rest" in names for names in live)


def test_the_same_becomes_of_the_answers(both: Both) -> None:
    chunks, calls = both.live.recording.chunks, both.episode.calls
    assert [chunk.used for chunk in chunks] == calls.used.tolist()
    assert [chunk.dropped for chunk in chunks] == calls.dropped.tolist()
    ages_s = calls.observation_age_s.astype(np.float32)  # as in the message
    assert [chunk.latency_s for chunk in chunks] == ages_s.tolist()
    for live, stamp, planned in zip(chunks, calls.captured_ns.tolist(), calls.planned, strict=True):
        due_ns = due_times_ns(stamp, ROBOT.dt_s, ROBOT.horizon)[live.dropped :]
        np.testing.assert_array_equal(
            trajectory_of(live.trajectory).sample(due_ns)[0], planned[live.dropped :]
        )
