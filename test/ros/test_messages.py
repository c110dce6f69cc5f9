# SPDX-License-Identifier: Apache-2.0
"""Values of the package <-> ROS messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.motion.limits import Limits
from dreamzero_ros.motion.plan import plan
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.decode import decode_image
from dreamzero_ros.policy.rollout import Command
from dreamzero_ros.policy.worker import Dream
from dreamzero_ros.ros.interfaces import Chunk
from dreamzero_ros.ros.messages import (
    chunk_message,
    dream_messages,
    duration_message,
    duration_ns,
    image_message,
    time_message,
    trajectory_message,
    trajectory_of,
)

pytestmark = pytest.mark.ros

JOINTS = ("a", "b", "c")
STAMPS = st.integers(0, 2**31 * 10**9 - 1)


def over_the_wire(message: object) -> object:
    return deserialize_message(serialize_message(message), type(message))


@given(STAMPS)
def test_stamps_keep_every_nanosecond(ns: int) -> None:
    stamp = time_message(ns)
    assert stamp.sec * 10**9 + stamp.nanosec == ns


@given(st.floats(0, 1e5))
def test_durations_are_true_to_a_nanosecond(seconds: float) -> None:
    assert abs(duration_ns(duration_message(seconds)) - seconds * 1e9) <= 0.5 + 1e-6 * seconds


@settings(max_examples=25, deadline=None)
@given(start_ns=STAMPS, count=st.integers(2, 30), seed=st.integers(0, 1000))
def test_a_trajectory_comes_back_whole_from_its_shares(start_ns: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.round(np.cumsum(rng.uniform(0.001, 0.1, count)), 9)
    times -= times[0]
    made = Trajectory(start_ns, JOINTS, times, rng.normal(size=(count, 3)), rng.normal(size=(count, 3)))
    for joints in (("c", "a"), ("b",)):
        share = trajectory_of(over_the_wire(trajectory_message(made, joints)))
        columns = [JOINTS.index(joint) for joint in joints]
        assert share.start_ns == start_ns and share.joints == joints
        np.testing.assert_allclose(share.times_s, times, atol=1e-9)
        np.testing.assert_array_equal(share.positions, made.positions[:, columns])
        np.testing.assert_array_equal(share.velocities, made.velocities[:, columns])


def make_chunk() -> ActionChunk:
    targets = np.linspace(0.01, 0.2, 24)[:, None] * np.ones(3)
    return ActionChunk(5 * 10**9, 1 / 15, JOINTS, targets)


def test_a_chunk_message_holds_the_table_row_by_row() -> None:
    chunk = make_chunk()
    limits = Limits(*(np.full(3, value) for value in (-3.0, 3.0, 2.0, 10.0)))
    made = plan(chunk, None, np.zeros(3), chunk.stamp_ns + 3 * 10**8, limits)
    message = over_the_wire(chunk_message(Command(4, "wave", chunk, made, 0.3)))
    assert isinstance(message, Chunk)
    assert (message.index, message.instruction, message.used, message.dropped) == (
        4,
        "wave",
        made.used,
        made.dropped,
    )
    np.testing.assert_array_equal(np.reshape(message.targets, (-1, 3)), chunk.targets)
    assert message.header.stamp == time_message(chunk.stamp_ns)
    assert isinstance(message.trajectory, JointTrajectory)
    assert len(message.trajectory.points) == len(made.trajectory.times_s)


def test_an_image_comes_back_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    message = over_the_wire(image_message(image, 123, "wrist"))
    assert isinstance(message, Image) and message.header.frame_id == "wrist"
    np.testing.assert_array_equal(decode_image(message, "topic"), image)


def test_dreamed_images_are_stamped_up_to_the_last_target() -> None:
    chunk = make_chunk()
    video = np.zeros((8, 4, 6, 3), np.uint8)
    stamps = [
        m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in dream_messages(Dream(chunk, video))
    ]
    assert np.ptp(np.diff(stamps)) <= 1
    assert abs(stamps[-1] - (chunk.stamp_ns + round(24 / 15 * 1e9))) <= 8
    assert abs(stamps[0] - (chunk.stamp_ns + round(3 / 15 * 1e9))) <= 1
