# SPDX-License-Identifier: Apache-2.0
"""The one base of every node: lifecycle transitions, parameters, and a process that ends cleanly."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

FAREWELL_S = 0.2
"""Time for the last messages of an active node that is told to end [s]."""


class ManagedNode(LifecycleNode):
    """A lifecycle node whose subclasses fill `_setup`, `_start`, `_stop` and `_teardown` only.

    - `_setup` (configure) allocates everything and raises with words when it cannot;
    - `_start` (activate) begins the work, allocates nothing;
    - `_stop` (deactivate) ends the work first and sends the safe command last;
    - `_teardown` (cleanup, shutdown, error) frees everything and bears half-built state.

    An exception in `_setup` or `_start` is logged and the transition fails; the process lives.
    """

    interruptible = False
    """True while a signal may break off the work at hand."""
    active = False
    """Between activate and deactivate."""
    finalized = False
    """After shutdown; no transition is left."""

    def _setup(self) -> None:
        """Allocates what the node needs."""

    def _start(self) -> None:
        """Begins the work."""

    def _stop(self) -> None:
        """Ends the work."""

    def _teardown(self) -> None:
        """Frees what `_setup` made."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._attempt(self._setup, "configure"):
            return TransitionCallbackReturn.SUCCESS
        self._attempt(self._teardown, "clean up")
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self._attempt(self._start, "activate"):
            return TransitionCallbackReturn.FAILURE
        self.active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        self._attempt(self._stop, "deactivate")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._attempt(self._teardown, "clean up")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self.active:
            self.on_deactivate(state)
        self.finalized = True
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self.on_cleanup(state)

    def on_fault(self, error: Exception) -> None:
        """Called when a callback raised; the node goes on. Subclasses bring the robot to a hold."""

    def release(self) -> None:
        """Frees what a configure that was broken off had made."""
        self.finalized = True
        self._attempt(self._teardown, "clean up")

    def _attempt(self, work: Callable[[], None], verb: str) -> bool:
        self.interruptible = verb == "configure"
        try:
            work()
        except Exception as error:
            self.get_logger().error(f"cannot {verb}: {error}")
            self.get_logger().debug(traceback.format_exc())
            return False
        finally:
            self.interruptible = False
        return True


def run_node(make: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> int:
    """Runs a managed node until Ctrl-C, SIGTERM or shutdown of its context; returns the exit code.

    With the parameter `autostart` the node configures and activates itself. On the way out an active node is
    deactivated first, so that its safe command still goes out. An exception in a callback is logged and given
    to `on_fault`; it never ends the node.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    leaving = threading.Event()
    try:
        node = make()
    except (ParameterException, ValueError) as error:
        get_logger("dreamzero_ros").fatal(str(error))
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def leave(signum: int, frame: object) -> None:
        leaving.set()
        if node.interruptible:  # a checkpoint may load for minutes
            raise KeyboardInterrupt

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, leave)
    try:
        if _wants_autostart(node) and not _bring_up(node):
            return 1
        while rclpy.ok() and not leaving.is_set():
            _spin_once(executor, node)
    except KeyboardInterrupt:
        node.release()
    except ExternalShutdownException:
        pass
    finally:
        _wind_down(node, executor)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin_once(executor: SingleThreadedExecutor, node: ManagedNode) -> None:
    try:
        executor.spin_once(timeout_sec=0.2)
    except ExternalShutdownException:
        raise
    except Exception as error:
        node.get_logger().error(f"a callback failed: {error}\n{traceback.format_exc()}")
        node.on_fault(error)


def _wants_autostart(node: ManagedNode) -> bool:
    text = "Configure and activate by itself at start-up."
    return node.declare_parameter(
        "autostart", False, ParameterDescriptor(description=text, read_only=True)
    ).value


def _bring_up(node: ManagedNode) -> bool:
    done = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() == done and node.trigger_activate() == done


def _wind_down(node: ManagedNode, executor: SingleThreadedExecutor) -> None:
    """Stops softly, lets the stop and the results of actions go out, then frees everything."""
    if not rclpy.ok() or node.finalized:
        return
    if node.active:
        node.trigger_deactivate()
        limit = time.monotonic() + FAREWELL_S
        while time.monotonic() < limit:
            _spin_once(executor, node)
    node.trigger_shutdown()
