# SPDX-License-Identifier: Apache-2.0
"""The demo: a whole graph of processes over DDS, watched live, with pictures at the end.

A simulated arm, cameras (synthetic, or three videos) and the policy node with the tiny model run as separate
processes in a ROS domain of their own. Nothing outside this machine is reached.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rich.console import Console

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.policy.settings import Mode
from dreamzero_ros.ros.demo_report import write_report
from dreamzero_ros.ros.interfaces import PolicyStatus
from dreamzero_ros.ros.isolation import graph_environment, reserved_domain
from dreamzero_ros.ros.processes import Processes
from dreamzero_ros.ros.recorder import Recorder

START_LIMIT_S = 120.0
"""Time in which every node must be up [s]."""
CHUNK_LIMIT_S = 10.0
"""Time in which every chunk must have come [s]."""
SETTLE_S = 1.5
"""Recorded after the run, to see the arm come to rest [s]."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as of shells."""


class DemoError(RuntimeError):
    """The demo cannot go on; says why and where to read more."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry."""
    options = _options(arguments)
    console = Console(width=100, highlight=False)
    interruption = Interruption()
    try:
        with reserved_domain() as domain:
            code = _run(domain, options, console, interruption)
    except DemoError as error:
        console.print(f"[red]The demo failed:[/red] {error}")
        code = 1
    except KeyboardInterrupt:
        console.print("Interrupted; every process was ended.")
        code = INTERRUPTED
    sys.exit(code)


class Interruption:
    """Ctrl-C and SIGTERM: raised at once, and remembered in case the exception is lost on its way."""

    def __init__(self) -> None:
        self._come = False
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._take)

    def check(self) -> None:
        """Raises KeyboardInterrupt when one has come."""
        if self._come:
            raise KeyboardInterrupt

    def _take(self, signum: int, frame: object) -> None:
        if not self._come:
            self._come = True
            raise KeyboardInterrupt


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo",
        description="The policy node with the tiny, untrained model in closed loop with a simulated arm.",
        epilog="Writes strip.png, joints.png, run.json and the logs of all processes into the output folder.",
    )
    parser.add_argument(
        "--embodiment", default="droid_franka", help="robot file by name or path (default droid_franka)"
    )
    parser.add_argument("--chunks", type=int, default=12, help="chunks to wait for (default 12)")
    parser.add_argument(
        "--footage",
        type=Path,
        help="folder with one video per camera, named after the cameras of the robot file; played in a loop",
    )
    parser.add_argument(
        "--instruction", default="put the red cube into the bowl", help="what the arm is asked"
    )
    parser.add_argument(
        "--mode",
        choices=get_args(Mode),
        default="asynchronous",
        help="asynchronous: the next chunk is computed while the arm executes one (default); blocking: the "
        "arm rests meanwhile, so that no chunk is late, however slow the machine",
    )
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="output folder (default demo_out)")
    options = parser.parse_args(arguments)
    if options.chunks < 1:
        parser.error(f"--chunks: got {options.chunks}, expected 1 or more")
    if options.footage is not None and not options.footage.is_dir():
        parser.error(f"--footage: {options.footage} is no folder")
    return options


def _run(domain: int, options: argparse.Namespace, console: Console, interruption: Interruption) -> int:
    environment = graph_environment(domain, str(options.out / "log"))
    os.environ.update(environment)
    console.print(
        f"World action model in closed loop, ROS domain {domain}. The tiny model has [bold]untrained random "
        "weights[/bold]: it shows the loop at work, not skill."
    )
    with Processes(environment, options.out / "log") as processes:
        _start_nodes(processes, options)
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        try:
            recording = _watch(processes, options, console, interruption)
        finally:
            rclpy.try_shutdown()
        codes = processes.stop()
    summary = write_report(recording, options.out, trained=False)
    _print_summary(summary, codes, options, console)
    failed = {name: code for name, code in codes.items() if code != 0}
    if failed:
        raise DemoError(f"processes ended with an error: {failed}; see {options.out / 'log'}")
    return 0


def _start_nodes(processes: Processes, options: argparse.Namespace) -> None:
    def ros(**parameters: Any) -> list[str]:
        pairs = {"embodiment": options.embodiment, "autostart": "true"} | parameters
        return ["--ros-args", *(word for key, value in pairs.items() for word in ("-p", f"{key}:={value}"))]

    synthetic = options.footage is None
    processes.start("sim_node", "dreamzero_ros.ros.sim_node", ros(cameras=str(synthetic).lower()))
    if not synthetic:
        folder = str(options.footage.resolve())
        processes.start("footage_node", "dreamzero_ros.ros.footage_node", ros(folder=folder))
    model = ros(random_weights="tiny", device="cpu", dtype="float32", mode=options.mode)
    processes.start("policy_node", "dreamzero_ros.ros.policy_node", model)


def _watch(
    processes: Processes, options: argparse.Namespace, console: Console, interruption: Interruption
) -> Any:
    recorder = Recorder(load(options.embodiment))
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    recording = recorder.recording

    def spin_until(done: Callable[[], bool], seconds: float, what: str) -> None:
        limit = time.monotonic() + seconds
        while not done():
            interruption.check()
            ended = processes.ended()
            if ended is not None:
                raise DemoError(f"{ended} ended: {_last_line(processes.log(ended))}")
            if time.monotonic() > limit:
                reason = recorder.status.reason if recorder.status else "the policy node is silent"
                raise DemoError(f"no {what} within {seconds:.0f} s: {reason}")
            try:
                executor.spin_once(timeout_sec=0.1)
            except RuntimeError:  # rclpy's bindings turn an exception inside of them into this
                interruption.check()
                raise

    try:
        with console.status("Starting the nodes and warming up the model"):
            spin_until(
                lambda: recorder.ready and bool(recording.measured), START_LIMIT_S, "active policy node"
            )
        recorder.begin(options.instruction)
        console.print(_header())
        misses = 0
        for chunk in range(options.chunks):
            spin_until(lambda count=chunk: len(recording.statuses) > count, CHUNK_LIMIT_S, f"chunk {chunk}")
            console.print(_row(chunk, recording.statuses[chunk], misses))
            misses = recording.statuses[chunk].deadline_misses
        recorder.cancel()
        spin_until(lambda: recording.result is not None, CHUNK_LIMIT_S, "end of the run")
        end = time.monotonic() + SETTLE_S
        spin_until(lambda: time.monotonic() > end, 2 * SETTLE_S, "rest")
    finally:
        executor.shutdown()
        recorder.destroy_node()
    return recording


COLUMNS = {
    "capture": ("capture",),
    "see": ("prepare", "text", "image", "video_encode", "video_rest"),
    "denoise": ("prefill", "denoise"),
    "command": ("command",),
}
"""Column of the table -> stages whose times it adds up."""


def _header() -> str:
    names = "".join(f"{name:>8s}" for name in ("age", *COLUMNS))
    units = f"{'ms':>8s}" * (len(COLUMNS) + 1)
    return (
        f"[bold]chunk  {'instruction':18s}{names}  used/due  step  ctx[/bold]\n"
        f"[dim]{'':25s}{units}{'':10s}  mrad[/dim]"
    )


def _row(chunk: int, status: PolicyStatus, misses: int) -> str:
    times = dict(zip(status.stages, status.latency_s, strict=True))
    columns = [sum(times.get(stage, 0.0) for stage in stages) for stages in COLUMNS.values()]
    cells = "".join(f"{1000 * seconds:8.0f}" for seconds in (status.observation_age_s, *columns))
    late = " [red]late[/red]" if status.deadline_misses > misses else ""
    targets = f"{status.targets_used:6d}/{status.targets_dropped:<3d}"
    return (
        f"{chunk:5d}  {status.instruction[:17]:18s}{cells}{targets}"
        f"{1000 * status.largest_step:6.0f}{status.context_frames:5d}{late}"
    )


def _print_summary(
    summary: dict[str, Any], codes: dict[str, int], options: argparse.Namespace, console: Console
) -> None:
    console.print(
        f"\n{summary['chunks']} chunks, {summary['deadline_misses']} late; {summary['targets_used']} targets "
        f"used, {summary['targets_dropped']} already due on arrival; {summary['limit_hits']} limits hit.\n"
        f"Median from image to command {1000 * summary['latency_median_s']:.0f} ms; largest joint step "
        f"{1000 * summary['largest_step']:.0f} mrad per control step; the arm followed within "
        f"{1000 * summary['tracking_error_max']:.0f} mrad.\n"
        f"Run ended: {summary['outcome']}. Exit codes: {codes}.\n"
        f"See {options.out}/strip.png, joints.png and run.json. The weights are untrained: do not read skill "
        "into them."
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'no output'} (see {log})"


if __name__ == "__main__":
    main()
