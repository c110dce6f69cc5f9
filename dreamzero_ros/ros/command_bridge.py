# SPDX-License-Identifier: Apache-2.0
"""Trajectories -> the controllers of the robot, each its share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, Protocol

from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from dreamzero_ros.embodiment.schema import Controller, Embodiment
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.ros.command_goals import GripperGoals, TrajectoryGoals
from dreamzero_ros.ros.messages import trajectory_message
from dreamzero_ros.ros.qos import COMMAND

Output = Literal["topic", "action"]


class ControllerOutput(Protocol):
    """How one controller is commanded."""

    goal_ids: Collection[bytes]
    """Ids of the goals that are ours."""
    holding: bool
    """Whether the controller or somebody else has ended the newest goal: it holds its joints."""

    def missing(self) -> str:
        """Says in words that nobody is there to take commands, or nothing."""

    def send(self, trajectory: Trajectory) -> str:
        """Commands the joints of the controller; the trajectory has further ones.

        Returns:
            Why nobody takes the command, in words; empty when it is on its way.
        """

    def close(self) -> None:
        """Ends commanding."""


class CommandBridge:
    """Commands every controller of a robot file.

    Args:
        node: Its namespace holds for the controllers.
        embodiment: Names the controllers.
        output: `topic`: ``<controller>/joint_trajectory``. `action`: goals of
            ``<controller>/follow_joint_trajectory``. Controllers of type gripper_command take goals of
            ``<controller>/gripper_cmd`` in both cases.
        on_rejected: Called on the thread of the node, in words, when a controller does not do what it was
            told: it is not there, rejects or aborts the goal, or somebody else cancels it. Not called for
            goals that our own have replaced. A stop may be sent from within.

    Raises:
        ValueError: control_msgs is needed and not installed.
    """

    def __init__(
        self, node: Node, embodiment: Embodiment, output: Output, on_rejected: Callable[[str], None]
    ) -> None:
        def make(controller: Controller) -> ControllerOutput:
            if controller.type == "gripper_command":
                limits = embodiment.limits[controller.joints[0]]
                return GripperGoals(node, controller, limits, on_rejected)
            if output == "action":
                return TrajectoryGoals(node, controller, on_rejected)
            return TrajectoryTopic(node, controller)

        self._on_rejected = on_rejected
        self._outputs: dict[str, ControllerOutput] = {}
        try:
            for controller in embodiment.controllers:
                self._outputs[controller.name] = make(controller)
        except ValueError:
            self.close()
            raise

    @property
    def goal_ids(self) -> set[bytes]:
        """Ids of the goals that are ours."""
        return {goal_id for output in self._outputs.values() for goal_id in output.goal_ids}

    @property
    def holding(self) -> set[str]:
        """Controllers that have ended our newest goal by themselves, and hold their joints where they are.

        A stop is not for them: it would begin at the setpoint of before.
        """
        return {name for name, output in self._outputs.items() if output.holding}

    @property
    def missing(self) -> str:
        """Which controllers are not there to take goals, in words; empty when all are."""
        return "; ".join(filter(None, [output.missing() for output in self._outputs.values()]))

    def send(self, trajectory: Trajectory, but: Collection[str] = ()) -> None:
        """Commands all controllers `but` those named."""
        commanded = [output for name, output in self._outputs.items() if name not in but]
        for words in [output.send(trajectory) for output in commanded]:
            if words:
                self._on_rejected(words)

    def close(self) -> None:
        """Ends commanding."""
        for output in self._outputs.values():
            output.close()


class TrajectoryTopic:
    """Publishes on the topic of a joint_trajectory_controller, which does not answer."""

    goal_ids: Collection[bytes] = ()
    holding = False

    def __init__(self, node: Node, controller: Controller) -> None:
        self._node = node
        self._joints = controller.joints
        self._publisher = node.create_publisher(
            JointTrajectory, f"{controller.name}/joint_trajectory", COMMAND
        )

    def missing(self) -> str:
        """Nothing: whoever listens to a topic need not be a controller."""
        return ""

    def send(self, trajectory: Trajectory) -> str:
        """Publishes the share of the controller; nobody answers."""
        self._publisher.publish(trajectory_message(trajectory, self._joints))
        return ""

    def close(self) -> None:
        """Ends the publisher."""
        self._node.destroy_publisher(self._publisher)
