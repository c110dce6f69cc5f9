# SPDX-License-Identifier: Apache-2.0
"""The node that runs the policy: cameras and joint states in, joint trajectories out."""

from __future__ import annotations

import sys

from diagnostic_msgs.msg import DiagnosticArray

from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.control_loop import ControlLoop
from dreamzero_ros.ros.description import RobotDescription
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.lifecycle import ManagedNode, run_node
from dreamzero_ros.ros.parameters import declare, on_change
from dreamzero_ros.ros.qos import REPORT
from dreamzero_ros.ros.run_action import RunAction
from dreamzero_ros.ros.status import diagnostics, inactive_message

STATUS_PERIOD_S = 0.1
DIAGNOSTICS_PERIOD_S = 1.0


class PolicyNode(ManagedNode):
    """Configure loads and warms up, activate observes and serves runs, deactivate stops softly and holds."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._settings = declare(self, PolicyParameters)
        on_change(self, lambda: self._settings, self._take_settings)
        self._status = self.create_publisher(PolicyStatus, "~/status", REPORT)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", REPORT)
        self._run = RunAction(self)
        self._loop: ControlLoop | None = None
        self._description = RobotDescription(self, self._take_description)
        self._inactive = "not configured"
        self._newest = self._make_status()
        self.create_timer(STATUS_PERIOD_S, self.publish_status)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    def _setup(self) -> None:
        try:
            self._loop = ControlLoop(
                self, self._settings, self._run, self.publish_status, self._description.urdf
            )
        except Exception as error:
            self._inactive = f"configure failed: {error}"
            raise
        self._inactive = "configured, not activated"
        self.get_logger().info(f"{self._loop.embodiment.name}: {self._loop.policy_name}")

    def _start(self) -> None:
        self._loop.start()
        self._inactive = ""

    def _stop(self) -> None:
        self._inactive = "deactivated"
        self._loop.stop("the node was deactivated")

    def _teardown(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
            self._inactive = "not configured"

    def on_fault(self, error: Exception) -> None:
        """Stops the arm; the node goes on."""
        if self._loop is not None:
            self._loop.fault(error)

    def _take_settings(self, settings: PolicyParameters) -> None:
        if self._loop is not None:
            self._loop.apply(settings)
        self._settings = settings

    def _take_description(self, urdf: str) -> None:
        if self._loop is not None:
            self._loop.describe(urdf)

    def _make_status(self) -> PolicyStatus:
        if self._loop is not None and not self._inactive:
            return self._loop.status()
        loop = self._loop
        names = (loop.embodiment.name, loop.policy_name) if loop else (self._settings.embodiment, "")
        return inactive_message(self._inactive, *names, self.get_clock().now().nanoseconds)

    def publish_status(self) -> None:
        """Says how things are."""
        self._newest = self._make_status()
        self._status.publish(self._newest)

    def _publish_diagnostics(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        self._diagnostics.publish(diagnostics(self.get_fully_qualified_name(), self._newest, now_ns))


def main() -> None:
    """Console entry."""
    sys.exit(run_node(PolicyNode))


if __name__ == "__main__":
    main()
