# SPDX-License-Identifier: Apache-2.0
"""Images reach the buffer with cv_bridge, without it, and beside one that cannot be imported."""

from __future__ import annotations

import array
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoded import encode
from rclpy.node import Node
from ros_graph import Graph
from sensor_msgs.msg import Image

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.ros.messages import time_message
from dreamzero_ros.ros.observation_bridge import CameraIntake
from dreamzero_ros.ros.qos import SENSOR

pytestmark = pytest.mark.ros

DROID = load("droid_franka")
CAMERA = replace(DROID.cameras[0], width=8, height=6)
ROBOT = replace(DROID, cameras=(CAMERA,))
RED = (200, 30, 30)

BROKEN_BY_NUMPY = "raise AttributeError('_ARRAY_API not found')\n"
BROKEN_LIBRARY = "raise ImportError('libopencv_core.so.406: cannot open shared object file')\n"
WORKING = """
import numpy as np

class CvBridge:
    def imgmsg_to_cv2(self, message, encoding):
        assert (message.encoding, encoding) == ("nv24", "rgb8"), "asked about what is known"
        return np.full((message.height, message.width, 3), (200, 30, 30), np.uint8)
"""


@pytest.fixture(
    params=["", BROKEN_BY_NUMPY, BROKEN_LIBRARY, WORKING], ids=["none", "NumPy", "library", "works"]
)
def cv_bridge(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Source of a package cv_bridge that is installed; empty for none."""
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    if request.param:
        (tmp_path / "cv_bridge.py").write_text(request.param)
        monkeypatch.syspath_prepend(tmp_path)
    else:
        monkeypatch.setitem(sys.modules, "cv_bridge", None)
    yield request.param
    sys.modules.pop("cv_bridge", None)


def test_what_is_known_is_read_and_the_rest_is_said(
    graph: Graph, cv_bridge: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node = Node("owner", context=graph.context)
    graph.executor.add_node(node)
    buffer, notes = ObservationBuffer(ROBOT, 10.0), dict[str, str]()
    intake = CameraIntake(node, ROBOT, buffer, notes, lambda: None)
    publisher = node.create_publisher(Image, CAMERA.topic, SENSOR)
    graph.wait(publisher.get_subscription_count, "the subscription")
    rgb = np.full((CAMERA.height, CAMERA.width, 3), RED, np.uint8)

    def send(number: int, encoding: str, data: bytes, step: int) -> None:
        message = Image(height=6, width=8, encoding=encoding, step=step, data=array.array("B", data))
        message.header.stamp = time_message(number)
        publisher.publish(message)
        received = intake.intake.judgements[CAMERA.name]
        graph.wait(lambda: received.received == number, f"image {number}")

    send(1, "bayer_rggb8", *encode(rgb, "bayer_rggb8"))
    assert not notes
    np.testing.assert_array_equal(buffer.images_at(1)[CAMERA.name][0], rgb)
    send(2, "nv24", bytes(3 * 48), 8)
    send(3, "bgr8", *encode(rgb, "bgr8"))
    judged = intake.intake.judgements[CAMERA.name]
    assert judged.refused == (cv_bridge != WORKING)
    assert all("nv24" in finding.got for finding in judged.refusals.values())
    intake.close()
    graph.executor.remove_node(node)
    node.destroy_node()
    said = capfd.readouterr().err
    broken = cv_bridge in (BROKEN_BY_NUMPY, BROKEN_LIBRARY)
    assert ("cv_bridge is installed and cannot be imported" in said) is broken
    assert not broken or ("_ARRAY_API not found" in said) is (cv_bridge == BROKEN_BY_NUMPY)
