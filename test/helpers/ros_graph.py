# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of processes in a domain of its own, and an operator that calls, watches and waits."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import rclpy
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.action.client import ClientGoalHandle
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from sim_time import SimTime
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory
from warm import WarmProcesses

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.ros.interfaces import PolicyStatus, RunPolicy, SetInstruction
from dreamzero_ros.ros.isolation import graph_environment, reserved_domain
from dreamzero_ros.ros.messages import trajectory_of
from dreamzero_ros.ros.qos import REPORT
from dreamzero_ros.ros.recorder import Recorder

PATIENCE_S = 180.0
"""Longest wait for anything [s]; machines that run tests may be slow."""

SLOWEST = 30
"""Longest real time that a simulated second may take [s]."""

ARRIVAL_S = 0.3
"""In which commands from before a status or an answer have arrived, too [s]."""

TINY = {"random_weights": "tiny", "device": "cpu", "dtype": "float32"}
"""Parameters of a policy node that runs anywhere."""

SERVICES = {
    "change_state": ChangeState,
    "set_instruction": SetInstruction,
    "reset": Trigger,
    "pause": SetBool,
    "get_state": GetState,
}
"""Of the policy node; once the last one answers, the others are known too."""

Found = TypeVar("Found")


class Graph:
    """Processes in a free domain, and a context of the test process in the same domain.

    Processes see no GPU, so that a test means the same on every machine.

    Args:
        folder: For the logs.
        simulated_time: Whether all nodes live by a simulated clock, which waits for those that are slow, so
            that a loaded machine changes nothing but the duration of the test.
    """

    def __init__(self, folder: Path, simulated_time: bool = False) -> None:
        self._stack = ExitStack()
        self.domain = self._stack.enter_context(reserved_domain())
        self.environment = graph_environment(self.domain, str(folder)) | {"CUDA_VISIBLE_DEVICES": ""}
        self.processes = WarmProcesses(self.environment, folder)
        self.context = Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.clock = SimTime(self.context) if simulated_time else None
        if self.clock is not None:
            self.executor.add_node(self.clock)
        self.witnesses: list[Callable[[], str]] = []
        """Tell in words how things stood when a wait was in vain."""
        self._process_ids: list[int] = []

    def start(self, node: str, *arguments: str, name: str = "", **parameters: object) -> int:
        """Starts a node of the package: ROS arguments such as a remapping as they are, parameters by name.

        Returns:
            Its process id.
        """
        if self.clock is not None:
            parameters |= {"use_sim_time": True}
            if node == "sim_node":
                self.clock.await_joint_states()
        pairs = [word for key, value in parameters.items() for word in ("-p", f"{key}:={_yaml(value)}")]
        module = f"dreamzero_ros.ros.{node}"
        process = self.processes.start(name or node, module, ["--ros-args", *pairs, *arguments])
        self._process_ids.append(process.pid)
        return process.pid

    @property
    def node_options(self) -> dict[str, Any]:
        """Arguments of `Node` that make a node of the test process part of the graph.

        It has no services that nobody calls: an executor looks at all of them each time it waits.
        """
        values = {"use_sim_time": self.clock is not None, "start_type_description_service": False}
        return {
            "context": self.context,
            "parameter_overrides": [Parameter(name, value=value) for name, value in values.items()],
            "start_parameter_services": False,
            "enable_rosout": False,
        }

    def now_ns(self) -> int:
        """Time now on the clock of the graph [ns, ROS clock]."""
        return time.time_ns() if self.clock is None else self.clock.now_ns

    def log(self, name: str) -> str:
        """What a process has written so far."""
        return self.processes.log(name).read_text(errors="replace")

    def shared_memory(self) -> set[Path]:
        """Segments in which the running processes hold messages, theirs and those of the test process."""
        return set().union(*map(segments, self._process_ids))

    def wait(self, done: Callable[[], Found], what: str, seconds: float = PATIENCE_S) -> Found:
        """Handles messages until `done` gives something true, and returns that."""
        __tracebackhide__ = True
        limit = time.monotonic() + seconds
        while not (found := done()):
            ended = self.processes.ended()
            assert ended is None, f"{ended} ended while this was awaited: {what}\n{self.log(ended)}"
            assert time.monotonic() < limit, f"not within {seconds:.0f} s: {what}{self._said()}"
            self.executor.spin_once(timeout_sec=0.1)
        return found

    def spend(self, seconds: float) -> None:
        """Handles messages while so much time passes on the clock of the graph."""
        limit_ns = self.now_ns() + round(seconds * 1e9)
        self.wait(lambda: self.now_ns() >= limit_ns, "time to pass", seconds * SLOWEST + PATIENCE_S)

    def _said(self) -> str:
        return "".join(f"; {witness()}" for witness in self.witnesses)

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.stop()
        for node in self.executor.get_nodes():
            node.destroy_node()
        self.executor.shutdown()
        rclpy.shutdown(context=self.context)
        self._stack.close()


class Operator(Recorder):
    """Records what is said and commanded, and does what a person can do to the policy node.

    Args:
        graph: The graph that it is part of.
        embodiment: The robot.
        policy_node: Name of the policy node.
        namespace: Of its own node and of the policy node.
        pictures: Whether to record pictures, too: the policy decodes its dreams while somebody listens.
    """

    def __init__(
        self,
        graph: Graph,
        embodiment: Embodiment,
        policy_node: str = "policy_node",
        namespace: str = "",
        pictures: bool = False,
    ) -> None:
        options = graph.node_options | {"namespace": namespace}
        super().__init__(embodiment, policy_node, pictures, **options)
        self.reports: list[PolicyStatus] = []
        """Every status, in order of arrival."""
        self.diagnostics: list[DiagnosticArray] = []
        self._graph = graph
        self._policy_node = policy_node
        self._known = False
        self._service_clients = {
            name: self.create_client(kind, f"{policy_node}/{name}") for name, kind in SERVICES.items()
        }
        self.create_subscription(PolicyStatus, f"{policy_node}/status", self.reports.append, REPORT)
        self.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, REPORT)
        graph.executor.add_node(self)
        graph.witnesses.append(self._testify)
        self._have_time_wait()

    def _have_time_wait(self) -> None:
        """Simulated time waits for the node of the operator who acted last."""
        if self._graph.clock is not None:
            self._graph.clock.await_policy(f"{self.get_namespace().rstrip('/')}/{self._policy_node}")

    def call(self, name: str, **fields: Any) -> Any:
        """Calls a service of the policy node."""
        client = self._service_clients[name]
        self._graph.wait(client.service_is_ready, f"service {name}")
        self._graph.wait(self._introduced, "an answer of the policy node")
        return self._wait(client.call_async(SERVICES[name].Request(**fields)), f"answer of {name}")

    def _testify(self) -> str:
        if not self.reports:
            return f"{self._policy_node} said nothing"
        last = self.reports[-1]
        return f"{self._policy_node} was in state {last.state} with reason {last.reason!r}"

    def _introduced(self) -> bool:
        """Whether the node has answered once: before both sides know each other an answer may be lost."""
        if not self._known:
            question = self._service_clients["get_state"].call_async(GetState.Request())
            limit = time.monotonic() + 3.0
            while not question.done() and time.monotonic() < limit:
                self._graph.executor.spin_once(timeout_sec=0.1)
            self._known = question.done()
        return self._known

    def transition(self, number: int) -> bool:
        """A lifecycle transition by its number in lifecycle_msgs/Transition; returns whether it succeeded."""
        return self.call("change_state", transition=Transition(id=number)).success

    def lifecycle(self) -> str:
        """The lifecycle state."""
        return self.call("get_state").current_state.label

    def set_instruction(self, text: str) -> SetInstruction.Response:
        return self.call("set_instruction", instruction=text)

    def reset(self) -> Trigger.Response:
        return self.call("reset")

    def pause(self, stop: bool) -> SetBool.Response:
        """Pauses, or goes on."""
        return self.call("pause", data=stop)

    def run(
        self, instruction: str, time_limit_s: int = 0, idle_time_s: int = 0, from_start_pose: bool = False
    ) -> Run:
        """Sends a goal and waits until it is accepted."""
        self._have_time_wait()
        self._graph.wait(self.run_client.server_is_ready, "run action")
        self._graph.wait(self._introduced, "an answer of the policy node")
        goal = RunPolicy.Goal(
            instruction=instruction,
            time_limit=Duration(sec=time_limit_s),
            idle_time=Duration(sec=idle_time_s),
            from_start_pose=from_start_pose,
        )
        handle = self._wait(self.run_client.send_goal_async(goal), "answer to the goal")
        assert handle.accepted
        return Run(self._graph, handle)

    def await_report(
        self, holds: Callable[[PolicyStatus], bool], what: str, reports: int = 0
    ) -> PolicyStatus:
        """The next status for which something holds; `reports` bounds how many may come before it."""
        first = len(self.reports)

        def found() -> PolicyStatus | None:
            new = self.reports[first:]
            if reports:
                words = [(report.state, report.reason) for report in new[:reports]]
                assert len(new) <= reports or any(map(holds, new[:reports])), f"not {what}, but {words}"
            return next(filter(holds, new), None)

        return self._graph.wait(found, what)

    def await_following(self) -> PolicyStatus:
        """The next status of an arm that moves."""
        return self.await_report(lambda report: report.state == PolicyStatus.FOLLOWING, "FOLLOWING")

    def trajectories(self, since: int = 0) -> dict[tuple[str, ...], list[Trajectory]]:
        """What each controller was sent, by its joints, from a length of `recording.commands` on."""
        return by_controller(self.recording.commands[since:])

    def _wait(self, future: Future, what: str) -> Any:
        self._graph.wait(future.done, what)
        return future.result()


class Run:
    """An accepted goal."""

    def __init__(self, graph: Graph, handle: ClientGoalHandle) -> None:
        self._graph = graph
        self._handle = handle
        self._result = handle.get_result_async()

    def cancel(self) -> None:
        """Asks for the end of the run."""
        self._handle.cancel_goal_async()

    def result(self) -> RunPolicy.Result:
        """Waits for the end of the run."""
        self._graph.wait(self._result.done, "result of the run")
        return self._result.result().result


def ask(graph: Graph, node: Node, kind: type, service: str, request: Any) -> Any:
    """Calls a service from a node of the test process; waits for service and answer."""
    client = node.create_client(kind, service)
    graph.wait(client.service_is_ready, service)
    answer = client.call_async(request)
    graph.wait(answer.done, f"answer of {service}")
    node.destroy_client(client)
    return answer.result()


def set_parameters(graph: Graph, node: Node, of: str, **values: object) -> None:
    """Sets live parameters of another node; all must be taken."""
    parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    request = SetParameters.Request(parameters=parameters)
    for result in ask(graph, node, SetParameters, f"{of}/set_parameters", request).results:
        assert result.successful, result.reason


def segments(process_id: int | str) -> set[Path]:
    """Shared memory in which a process holds messages; that of ports, which all share, is left out."""
    maps = Path(f"/proc/{process_id}/maps").read_text()
    return {Path(path) for path in re.findall(r"/dev/shm/fastrtps_[0-9a-f]{16}\b", maps)}


def by_controller(commands: Iterable[JointTrajectory]) -> dict[tuple[str, ...], list[Trajectory]]:
    """Trajectories by the joints that they name, in order."""
    found = defaultdict(list)
    for message in commands:
        found[tuple(message.joint_names)].append(trajectory_of(message))
    return dict(found)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
