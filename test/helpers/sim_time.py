# SPDX-License-Identifier: Apache-2.0
"""Simulated time for a graph: as fast as its nodes follow, and never faster than real time."""

from __future__ import annotations

import time
from collections.abc import Callable

from lifecycle_msgs.srv import GetState
from rclpy.clock import Clock as NodeClock
from rclpy.clock import ClockType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.messages import time_message
from dreamzero_ros.ros.qos import CLOCK, REPORT, SENSOR

START_NS = 1_000 * 1_000_000_000
"""Time in the beginning [ns]: late enough for stamps of clocks that are behind."""
STEP_NS = 10_000_000
"""Simulated time of a step: a cycle of the simulated controllers [ns]."""
LOOK_S = 0.004
"""Real time between two looks at a graph that is silent [s]."""
PATIENCE_S = 0.5
"""Real time after which a node that is behind is given up until it is heard again [s]."""
REPEAT_S = 0.02
"""Real time after which the clock is sent again, should it have got lost [s]."""
REST_S = 0.03
"""Real time that a policy node gets whose images are behind [s]."""
OLD_S = 0.13
"""Age of an image that is behind, at the control rates of the robots [s]."""


class SimTime(Node):
    """Publishes /clock while the executor of its graph spins.

    A step is taken once the simulated robot has published its joint states of this time and the policy node
    has answered a question of this time, and no sooner than in real time: threads that nobody can ask, such
    as those of the cameras and of the policy, are no later in simulated time than they really are. On a
    loaded machine simulated time passes more slowly, and what is measured in it stays the same.

    Args:
        context: Of the graph; its nodes use simulated time.
    """

    def __init__(self, context: Context) -> None:
        super().__init__("sim_time", context=context, start_parameter_services=False, enable_rosout=False)
        self.now_ns = START_NS
        """Time now [ns, ROS clock]."""
        self.steps: list[Callable[[int], None]] = []
        """Called with every time that all nodes have reached [ns]; what they publish is stamped with it."""
        self._joints_ns: int | None = None
        self._policy_node = ""
        self._answer: Future | None = None
        self._stepped_s = self._published_s = self._rest_until_s = self._due_s = time.monotonic()
        self._clock_publisher = self.create_publisher(Clock, "/clock", CLOCK)
        self.create_timer(LOOK_S, self._look, clock=NodeClock(clock_type=ClockType.STEADY_TIME))

    def await_joint_states(self) -> None:
        """From now on time waits for the joint states of a simulated robot."""
        self.create_subscription(JointState, "joint_states", self._take_joints, SENSOR)

    def await_policy(self, policy_node: str) -> None:
        """From now on time waits for this policy node, by its full name, and for no other."""
        if policy_node == self._policy_node:
            return
        if self._policy_node:
            self.destroy_client(self._policy)
            self.destroy_subscription(self._statuses)
        self._policy_node, self._answer = policy_node, None
        self._policy = self.create_client(GetState, f"{policy_node}/get_state")
        self._statuses = self.create_subscription(
            PolicyStatus, f"{policy_node}/status", self._take_status, REPORT
        )

    def _take_joints(self, message: JointState) -> None:
        self._joints_ns = stamp_ns(message)
        self._look()

    def _take_status(self, message: PolicyStatus) -> None:
        if any(age_s > OLD_S for age_s in message.image_age_s):
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
        for step in self.steps:
            step(self.now_ns)
        self.now_ns += STEP_NS
        self._stepped_s = time.monotonic()
        self._due_s = max(self._due_s, self._stepped_s - LOOK_S) + STEP_NS * 1e-9
        self._publish()
        if self._policy_node:
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
