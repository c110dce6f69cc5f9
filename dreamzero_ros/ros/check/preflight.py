# SPDX-License-Identifier: Apache-2.0
"""All checks in their order."""

from __future__ import annotations

from contextlib import ExitStack

from rclpy.node import Node
from rich.console import Console

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.cameras import check_camera, check_together
from dreamzero_ros.ros.check.controllers import check_commanders, check_controller, check_policy_node
from dreamzero_ros.ros.check.files import check_checkpoint, check_robot
from dreamzero_ros.ros.check.graph import check_transport
from dreamzero_ros.ros.check.joints import check_description, check_joint_states
from dreamzero_ros.ros.check.latency import check_policy
from dreamzero_ros.ros.check.listen import Listener, spinning, wait
from dreamzero_ros.ros.check.memory import check_device
from dreamzero_ros.ros.check.rows import Report, failed, skipped
from dreamzero_ros.ros.check.simulation import Simulation, trial

DISCOVERY_S = 3.0
"""Longest wait until a running robot is heard [s]."""
START_LIMIT_S = 60.0
"""Longest wait until a simulated robot is heard [s]."""


class Preflight:
    """Runs the checks and reports them.

    Args:
        node: Bears name, namespace, remappings and clock of the policy node.
        parameters: Of the policy node.
        report: Takes the rows.
        console: Shows what takes time.
        seconds: How long to listen [s].
    """

    def __init__(
        self, node: Node, parameters: PolicyParameters, report: Report, console: Console, seconds: float
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._report = report
        self._console = console
        self._seconds = seconds

    def run(self, simulation: Simulation | None, with_policy: bool) -> None:
        """Checks everything.

        Args:
            simulation: To be started and checked with the tiny model; None checks the robot of the graph.
            with_policy: Whether to load the policy and measure its latency.
        """
        if simulation is not None:
            self._parameters = trial(self._parameters)
        robot, rows = check_robot(self._parameters)
        self._report.add("Robot", rows)
        if robot is None:
            return
        engine, rows = check_checkpoint(self._parameters, robot)
        self._report.add("Model", rows + (check_device(self._parameters, engine) if engine else []))
        with ExitStack() as stack:
            if simulation is not None:
                simulation.start(self._parameters)
            listener = Listener(self._node, robot, self._parameters.max_observation_age_s)
            stack.callback(listener.close)
            stack.enter_context(spinning(self._node))
            try:
                self._listen(listener, simulation)
            finally:
                listener.rest()
            self._check_graph(listener, robot)
            if with_policy:
                self._check_policy(listener, robot, engine)
            else:
                self._report.add("Policy", [skipped("policy", "left out: --no-policy")])

    def _listen(self, listener: Listener, simulation: Simulation | None) -> None:
        limit_s = DISCOVERY_S if simulation is None else START_LIMIT_S
        failure = simulation.failure if simulation else str
        with self._console.status(f"listening for {self._seconds:g} s"):
            wait(lambda: listener.complete or bool(failure()), limit_s)
            listener.restart()
            wait(lambda: bool(failure()), self._seconds)
        if failure():
            self._report.add("Simulation", [failed("robot", failure(), "look at the robot file")])

    def _check_graph(self, listener: Listener, robot: Embodiment) -> None:
        report, seconds = self._report, self._seconds
        heard = listener.description
        robot, limits = check_description(robot, heard.urdf, heard.publishers())
        report.add("Graph", [check_transport(), check_policy_node(listener)])
        for camera in robot.cameras:
            report.add(f"Camera {camera.name}", check_camera(listener, robot, camera, seconds))
        report.add("Cameras", [check_together(listener.images, robot.image_tolerance_s)])
        report.add("Joint states", [*check_joint_states(listener, robot, seconds), limits])
        output = self._parameters.command_output
        rows = [check_controller(self._node, robot, controller, output) for controller in robot.controllers]
        report.add("Controllers", [*rows, check_commanders(listener, robot)])

    def _check_policy(self, listener: Listener, robot: Embodiment, engine: Engine | None) -> None:
        if self._parameters.policy == "dreamzero" and (engine is None or self._report.failed("Model")):
            self._report.add("Policy", [skipped("policy", "not loaded", "see the rows of the model")])
            return
        with self._console.status("loading the policy"):
            rows = check_policy(self._parameters, robot, listener.buffer, listener.now_ns)
        self._report.add("Policy", rows)
