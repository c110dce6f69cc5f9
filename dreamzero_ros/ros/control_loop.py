# SPDX-License-Identifier: Apache-2.0
"""The closed loop on a node: observations in, requests to the policy, commands out, operator in between."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection

from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from dreamzero_ros.embodiment.description import with_description
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.rollout import WATCH_PERIOD_S, Rollout, State
from dreamzero_ros.policy.stages import stages
from dreamzero_ros.policy.validated import ValidatedPolicy
from dreamzero_ros.policy.worker import Answer, Dream, PolicyWorker, not_ahead
from dreamzero_ros.ros import qos
from dreamzero_ros.ros.command_bridge import CommandBridge
from dreamzero_ros.ros.goal_watch import GoalWatch
from dreamzero_ros.ros.interfaces import Chunk, PolicyStatus, RunPolicy, SetInstruction
from dreamzero_ros.ros.messages import chunk_message, dream_messages, image_message
from dreamzero_ros.ros.moveit import StateValidity
from dreamzero_ros.ros.observation_bridge import CameraIntake, JointStateIntake
from dreamzero_ros.ros.paths import EndEffectorPaths
from dreamzero_ros.ros.run_action import Result, RunAction, Runner
from dreamzero_ros.ros.status import LastCall, status_message

E_STOP, DESCRIPTION, FOREIGN_GOAL = "e-stop", "robot_description", "foreign goal"
"""What locks the arm."""
COMMANDING = (State.APPROACHING, State.WAITING, State.FOLLOWING, State.HOLDING)
"""States in which a controller that rejects a command stops the run."""


class ControlLoop:
    """Everything between `configure` and `cleanup`; works between `start` and `stop`.

    All methods run on the thread of the node. The policy and the cameras have threads of their own and wake
    the node through a guard condition.

    Loads robot and policy and warms the policy up.

    Args:
        node: The policy node.
        parameters: In force.
        run: Serves runs.
        on_state: Called when the state has changed; it may change again before the next status is due.
        urdf: Content of ``robot_description``, where it has come already.

    Raises:
        ValueError: Robot file, checkpoint or parameters cannot be used; says what to change.
    """

    def __init__(
        self,
        node: Node,
        parameters: PolicyParameters,
        run: RunAction,
        on_state: Callable[[], None],
        urdf: str | None = None,
    ) -> None:
        self._node = node
        self._on_state = on_state
        self._file_robot = parameters.load()
        self.embodiment = self._described(urdf) if urdf is not None else self._file_robot
        self._commands = None
        if not parameters.dry_run:
            output = parameters.command_output
            self._commands = CommandBridge(node, self.embodiment, output, self._take_rejection)
        validity = None
        try:
            if parameters.moveit_check_every:
                validity = StateValidity(
                    node,
                    self.embodiment,
                    parameters.moveit_check_every,
                    parameters.moveit_group,
                    parameters.moveit_timeout_s,
                )
            settings = parameters.rollout(self.embodiment)
            policy, warm_latency_s = make_policy(parameters, self.embodiment, self._now_ns)
        except Exception:
            if validity is not None:
                validity.close()
            self._close_commands()
            raise
        if validity is not None:
            policy = ValidatedPolicy(policy, validity)
        self.policy_name = policy.name
        for doubt in policy.doubts:
            node.get_logger().warning(doubt)
        self._buffer = ObservationBuffer(self.embodiment, parameters.max_observation_age_s)
        self._rollout = Rollout(
            self.embodiment, self._buffer, policy.uses_history, settings, policy.foresight
        )
        self._rollout.pacing.record(warm_latency_s)
        self._paths = self._paths_of(urdf) if urdf is not None else None
        self._last = LastCall()
        self._asked_age_s = 0.0
        self._executed_ns = -1
        self._said = self._rollout.state
        self._chunks = node.create_publisher(Chunk, "~/chunk", qos.REPORT)
        self._observed = node.create_publisher(Image, "~/observed/image", qos.REPORT)
        self._imagined = node.create_publisher(Image, "~/imagined/image", qos.REPORT)
        self._delivered: queue.SimpleQueue[Answer | Dream | Exception] = queue.SimpleQueue()
        self._wake = node.create_guard_condition(self.advance)
        self._worker = PolicyWorker(
            policy, self._deliver, lambda: self._imagined.get_subscription_count() > 0
        )
        self._started = False
        self._preempts = parameters.foreign_goals == "preempt"
        self._preempting = False
        self._goals = None
        if self._commands is not None and parameters.foreign_goals != "ignore":
            self._goals = GoalWatch(
                node, self.embodiment, lambda: self._commands.goal_ids, self._take_foreign_goals
            )
        self._run = run
        run.serve(Runner(self._begin_run, self._end_run, self._fill_result, lambda: self._rollout.idle_s))
        self._services = [
            node.create_service(SetInstruction, "~/set_instruction", self._set_instruction),
            node.create_service(Trigger, "~/reset", self._reset),
            node.create_service(SetBool, "~/pause", self._pause),
        ]

    def start(self) -> None:
        """Begins to observe; nothing moves before a run."""
        self._buffer.clear()
        notes = self._rollout.notes
        notes.clear()
        self._e_stops = [
            self._node.create_subscription(Bool, "e_stop", self._take_e_stop, profile)
            for profile in qos.E_STOP
        ]
        self._joint_states = JointStateIntake(self._node, self._buffer, notes)
        self._cameras = CameraIntake(self._node, self.embodiment, self._buffer, notes, self._wake.trigger)
        self._timer = self._node.create_timer(WATCH_PERIOD_S, self.advance)
        self._started = True

    def stop(self, reason: str) -> None:
        """Ends the run with a soft stop and stops observing."""
        if not self._started:
            return
        self._started = False
        self._run.finish(Result.FAULT, reason)
        self._node.destroy_timer(self._timer)
        self._cameras.close()
        self._joint_states.close()
        for subscription in self._e_stops:
            self._node.destroy_subscription(subscription)

    def close(self) -> None:
        """Frees the policy and everything on the node."""
        self.stop("shut down")
        self._run.serve(None)
        for service in self._services:
            self._node.destroy_service(service)
        self._worker.close()
        self._node.destroy_guard_condition(self._wake)
        for publisher in (self._chunks, self._observed, self._imagined):
            self._node.destroy_publisher(publisher)
        self._close_paths()
        if self._goals is not None:
            self._goals.close()
        self._close_commands()

    def _close_commands(self) -> None:
        if self._commands is not None:
            self._commands.close()

    def describe(self, urdf: str) -> None:
        """The robot description has come, or has changed: its limits hold where they are tighter."""
        try:
            self.embodiment = self._described(urdf)
        except ValueError as error:
            self._node.get_logger().error(str(error))
            self._send(self._rollout.lock(DESCRIPTION, str(error), self._now_ns()))
            return
        self._rollout.unlock(DESCRIPTION)
        self._rollout.describe(self.embodiment)
        self._close_paths()
        self._paths = self._paths_of(urdf)

    def _described(self, urdf: str) -> Embodiment:
        found = with_description(self._file_robot, urdf)
        for sentence in found.differences:
            self._node.get_logger().warning(sentence)
        for sentence in found.not_compared:
            self._node.get_logger().warning(f"{sentence}; not compared")
        return found.robot

    def _paths_of(self, urdf: str) -> EndEffectorPaths:
        return EndEffectorPaths(self._node, self.embodiment, urdf)

    def _close_paths(self) -> None:
        if self._paths is not None:
            self._paths.close()

    def apply(self, parameters: PolicyParameters) -> None:
        """Other values of live parameters, from now on.

        Raises:
            ValueError: They cannot be used; the ones before stay in force.
        """
        self._rollout.apply(parameters.rollout(self.embodiment))

    def fault(self, error: Exception) -> None:
        """Something unforeseen happened in a callback: the arm is stopped and the run ends."""
        self._run.finish(Result.FAULT, f"internal error: {error}")

    def status(self) -> PolicyStatus:
        """The state in words and numbers."""
        status = status_message(
            self._rollout, self._buffer, self._last, self.embodiment.name, self.policy_name, self._now_ns()
        )
        self._run.publish_feedback(status)
        return status

    def advance(self) -> None:
        """Takes what was delivered, looks after the motion, and asks the policy or shows it what comes."""
        while not self._delivered.empty():
            self._take(self._delivered.get())
            self._say_state()
        if not self._started:
            return
        now_ns = self._now_ns()
        self._run.watch(now_ns)
        if self._rollout.waits:
            self._rollout.wait_for(self._awaited())
        self._send(self._rollout.watch(now_ns))
        self._say_state()
        request = self._rollout.request(now_ns)
        if request is not None:
            self._asked_age_s = request.age_s
            self._worker.ask(request)
        elif (images := self._rollout.foresee(now_ns)) is not None:
            self._worker.look_ahead(images)

    def _say_state(self) -> None:
        if self._rollout.state is not self._said:
            self._said = self._rollout.state
            self._on_state()

    # Answers of the policy

    def _deliver(self, item: Answer | Dream | Exception) -> None:
        """Called from the thread of the policy."""
        self._delivered.put(item)
        self._wake.trigger()

    def _take(self, item: Answer | Dream | Exception) -> None:
        if isinstance(item, Exception):
            self._node.get_logger().warning(not_ahead(item), throttle_duration_sec=1.0)
        elif isinstance(item, Dream):
            if item.chunk.stamp_ns == self._executed_ns:  # else nobody will act on it
                for message in dream_messages(item):
                    self._imagined.publish(message)
        elif item.error is not None:
            self._refuse(item.serial, item.error)
        else:
            self._execute(item)

    def _execute(self, answer: Answer) -> None:
        chunk = answer.chunk
        assert chunk is not None
        try:
            command = self._rollout.accept(answer.serial, chunk, self._now_ns())
        except MotionError as error:
            self._refuse(answer.serial, error)
            return
        if command is None:
            return
        self._executed_ns = chunk.stamp_ns
        self._send(command.plan.trajectory)
        self._chunks.publish(chunk_message(command))
        if self._paths is not None:
            self._paths.publish(command.plan.trajectory)
        self._last = LastCall(
            stages(self._asked_age_s, chunk.latency_s, command.latency_s),
            chunk.context_frames,
            chunk.computed_steps,
        )
        if chunk.canvas is not None:
            self._observed.publish(image_message(chunk.canvas[-1], chunk.stamp_ns, "observed"))

    def _refuse(self, serial: int, error: Exception) -> None:
        """A refused chunk is tried again in a new session; an error of the policy ends the run."""
        refused = isinstance(error, MotionError)
        log = self._node.get_logger()
        (log.warning if refused else log.error)(f"{type(error).__name__}: {error}", throttle_duration_sec=1.0)
        self._send(self._rollout.refuse(serial, error, self._now_ns()))
        if not refused:
            self._run.finish(Result.FAULT, f"the policy failed: {error}")

    def _send(self, trajectory: Trajectory | None) -> None:
        """Commands all controllers but those that somebody else commands."""
        if trajectory is not None and self._commands is not None:
            self._commands.send(trajectory, but=self._goals.foreign() if self._goals is not None else ())

    # What the operator does

    def _begin_run(self, goal: RunPolicy.Goal) -> None:
        if not self._started:
            raise ValueError("the node is not active: activate it first")
        foreign = self._goals.foreign() if self._goals is not None and self._preempts else ()
        if foreign:
            self._rollout.unlock(FOREIGN_GOAL)
        self._rollout.start(goal.instruction, goal.from_start_pose)
        self._preempting = bool(foreign)
        if foreign:
            self._goals.preempt()
        self._rollout.wait_for(self._awaited())
        self._node.get_logger().info(f"run: {goal.instruction!r}")

    def _awaited(self) -> str:
        """What must happen before a run may begin to move the arm, in words; empty when it may."""
        if self._preempting:
            return f"waiting for the canceled goals of others on {', '.join(self._goals.foreign())} to end"
        return self._commands.missing if self._commands is not None else ""

    def _end_run(self, reason: str) -> None:
        self._preempting = False
        self._send(self._rollout.end(self._now_ns(), f"no run: {reason}"))
        self._node.get_logger().info(f"run ended: {reason}")

    def _fill_result(self, result: Result) -> None:
        counters = self._rollout.counters
        result.chunks, result.deadline_misses = counters.chunks, counters.deadline_misses

    def _take_e_stop(self, message: Bool) -> None:
        if message.data:
            self._send(self._rollout.lock(E_STOP, "the e-stop is pressed", self._now_ns()))
        else:
            self._rollout.unlock(E_STOP)

    def _take_rejection(self, words: str) -> None:
        """A controller does not do what it was told; the stop that follows may fare no better."""
        self._node.get_logger().error(words, throttle_duration_sec=1.0)
        self._release(self._commands.holding)
        if self._rollout.state in COMMANDING:
            self._send(self._rollout.trip(words, self._now_ns()))
            self._say_state()

    def _take_foreign_goals(self) -> None:
        """Others have begun or ended a goal on our controllers."""
        controllers = self._goals.foreign()
        if not controllers:
            self._preempting = False
            self._rollout.unlock(FOREIGN_GOAL)
            return
        if self._preempting:
            return
        reason = (
            f"{', '.join(controllers)} executes a goal of somebody else (MoveIt?): wait, cancel it, or set "
            "foreign_goals:=preempt"
        )
        self._release(controllers)
        self._send(self._rollout.lock(FOREIGN_GOAL, reason, self._now_ns()))
        self._say_state()

    def _release(self, controllers: Collection[str]) -> None:
        """The joints of some controllers are not ours for now."""
        entries = self.embodiment.controllers
        self._rollout.release(
            [joint for entry in entries if entry.name in controllers for joint in entry.joints]
        )

    def _set_instruction(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        return _answered(response, lambda: self._rollout.change_instruction(request.instruction))

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answered(response, self._rollout.restart)

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            return _answered(response, lambda: self._send(self._rollout.pause(self._now_ns())))
        return _answered(response, self._rollout.resume)

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds


def _answered(response: object, work: Callable[[], None]) -> object:
    """Fills `success` and `message` of a service response."""
    try:
        work()
    except ValueError as error:
        response.success, response.message = False, str(error)
    else:
        response.success = True
    return response
