# SPDX-License-Identifier: Apache-2.0
"""Simulated time and pictures for a graph: as fast as its nodes follow, and never faster than real time."""

from __future__ import annotations

import time

import numpy as np
from lifecycle_msgs.srv import GetState
from rclpy.clock import Clock as NodeClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.task import Future
from ros_graph import Graph
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.messages import image_message, time_message
from dreamzero_ros.ros.qos import CLOCK, REPORT, SENSOR

STEP_NS = 10_000_000
"""Simulated time of a step: a cycle of the simulated controllers [ns]."""
LOOK_S = 0.002
"""Real time between two looks at a graph that is silent [s]."""
PATIENCE_S = 0.5
"""Real time after which a node that is behind is given up until it is heard again [s]."""
REPEAT_S = 0.02
"""Real time after which the clock is sent again, should it have got lost [s]."""
REST_S = 0.03
"""Real time that a policy node gets whose images are behind [s]."""
PICTURE = np.zeros((36, 64, 3), np.uint8)
"""What every camera sees: policies that do not look bear it."""


class SimTime(Node):
    """Publishes /clock and pictures while the executor of its graph spins.

    A step is taken once the simulated robot has published its joint states of this time and the policy node
    has answered a question of this time, and no sooner than in real time: threads that nobody can ask, such
    as those of the cameras and of the policy, are no later in simulated time than they really are. On a
    loaded machine simulated time passes more slowly, and what is measured in it stays the same.

    Args:
        graph: Its nodes use simulated time; its simulated robot has no cameras.
        embodiment: The robot; its cameras work at the control rate.
    """

    def __init__(self, graph: Graph, embodiment: Embodiment) -> None:
        super().__init__("sim_time", context=graph.context)
        self.now_ns = 0
        """Time now [ns, ROS clock]."""
        self._dt_s = embodiment.dt_s
        self._joints_ns: int | None = None
        self._answer: Future | None = None
        self._pictures = 0
        self._stepped_s = self._published_s = self._rest_until_s = self._due_s = time.monotonic()
        self._clock_publisher = self.create_publisher(Clock, "/clock", CLOCK)
        self._cameras = {
            camera.name: self.create_publisher(Image, camera.topic, SENSOR) for camera in embodiment.cameras
        }
        self._policy = self.create_client(GetState, "policy_node/get_state")
        self.create_subscription(JointState, "joint_states", self._take_joints, SENSOR)
        self.create_subscription(PolicyStatus, "policy_node/status", self._take_status, REPORT)
        real_time = NodeClock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_S, self._look, clock=real_time)
        graph.executor.add_node(self)

    def _take_joints(self, message: JointState) -> None:
        self._joints_ns = stamp_ns(message)
        self._look()

    def _take_status(self, message: PolicyStatus) -> None:
        if any(age_s > 2 * self._dt_s for age_s in message.image_age_s):
            self._rest_until_s = time.monotonic() + REST_S

    def _look(self) -> None:
        now_s = time.monotonic()
        spent_s = now_s - self._stepped_s
        robot_behind = self._joints_ns is not None and self._joints_ns < self.now_ns
        policy_behind = self._answer is not None and not self._answer.done()
        if spent_s > PATIENCE_S:
            self._joints_ns = None
            self._step()
        elif not (robot_behind or policy_behind or now_s < max(self._rest_until_s, self._due_s)):
            self._step()
        elif now_s > self._published_s + REPEAT_S:
            self._publish()

    def _step(self) -> None:
        """Pictures of the time that every node has reached, then the next."""
        pictures = int(self.now_ns * 1e-9 / self._dt_s)
        if pictures > self._pictures:
            self._pictures = pictures
            for name, publisher in self._cameras.items():
                publisher.publish(image_message(PICTURE, self.now_ns, name))
        self.now_ns += STEP_NS
        self._stepped_s = time.monotonic()
        self._due_s = max(self._due_s, self._stepped_s - LOOK_S) + STEP_NS * 1e-9
        self._publish()
        self._ask()

    def _ask(self) -> None:
        if self._answer is not None:
            self._policy.remove_pending_request(self._answer)
        known = self._policy.service_is_ready()
        self._answer = self._policy.call_async(GetState.Request()) if known else None
        if self._answer is not None:
            self._answer.add_done_callback(lambda answer: self._look())

    def _publish(self) -> None:
        self._published_s = time.monotonic()
        self._clock_publisher.publish(Clock(clock=time_message(self.now_ns)))
