# SPDX-License-Identifier: Apache-2.0
"""Messages that are written have the types of every supported distribution."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from dreamzero_ros.evaluation import messages
from dreamzero_ros.observation.decode import stamp_ns

pytestmark = pytest.mark.cpu
AT_NS = 1_700_000_000_123_456_789

MADE = (
    messages.image(b"\xff\xd8\xff", AT_NS, "wrist"),
    messages.joint_state(("a", "b"), np.array([0.1, 0.2]), np.array([1.0, 2.0]), AT_NS),
    messages.trajectory(("a", "b"), AT_NS, [1, 2_500_000_000], np.array([[0.1, 0.2], [0.3, 0.4]])),
    messages.text("words"),
    messages.number(0.5),
    messages.diagnostics("name", messages.WARN, "late", {"call": 3, "age [s]": 0.25}, AT_NS),
)


@pytest.mark.parametrize("distribution", [Stores.ROS2_JAZZY, Stores.ROS2_KILTED])
@pytest.mark.parametrize("message", MADE, ids=lambda message: message.__msgtype__)
def test_later_distributions_have_the_same_types(distribution: Stores, message: object) -> None:
    kind = message.__msgtype__
    later = get_typestore(distribution)
    assert later.hash_rihs01(kind) == messages.STORE.hash_rihs01(kind)
    back = later.deserialize_cdr(messages.STORE.serialize_cdr(message, kind), kind)
    assert later.serialize_cdr(back, kind) == messages.STORE.serialize_cdr(message, kind)


def test_they_hold_what_they_are_given() -> None:
    image, states, trajectory, _, _, diagnostics = MADE
    assert [stamp_ns(message) for message in (image, states, trajectory, diagnostics)] == [AT_NS] * 4
    assert (image.header.frame_id, image.data.tobytes()) == ("wrist", b"\xff\xd8\xff")
    assert [point.positions.tolist() for point in trajectory.points] == [[0.1, 0.2], [0.3, 0.4]]
    after = [(point.time_from_start.sec, point.time_from_start.nanosec) for point in trajectory.points]
    assert after == [(0, 1), (2, 500_000_000)]
    (status,) = diagnostics.status
    assert (status.level, [(pair.key, pair.value) for pair in status.values]) == (
        messages.WARN,
        [("call", "3"), ("age [s]", "0.25")],
    )
