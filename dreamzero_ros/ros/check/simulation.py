# SPDX-License-Identifier: Apache-2.0
"""A simulated robot to be checked, in a ROS domain of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.isolation import graph_environment, reserved_domain
from dreamzero_ros.ros.processes import Processes

NODE = "sim_node"


class Simulation:
    """The process of a simulated robot.

    Args:
        processes: Starts and ends it.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def start(self, parameters: PolicyParameters) -> None:
        """Starts the robot of the robot file."""
        given = {
            "embodiment": parameters.embodiment,
            "embodiment_parameters": json.dumps(parameters.embodiment_parameters),
            "autostart": "true",
        }
        words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
        self._processes.start(NODE, "dreamzero_ros.ros.sim_node", ["--ros-args", *words])

    def failure(self) -> str:
        """Last words of a robot that ended; empty while it lives."""
        if self._processes.ended() is None:
            return ""
        lines = self._processes.log(NODE).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"


@contextmanager
def simulation() -> Iterator[Simulation]:
    """Moves this process to a ROS domain of its own; to be entered before ROS is initialised."""
    with TemporaryDirectory() as folder, reserved_domain() as domain:
        os.environ.update(graph_environment(domain, folder))
        with Processes(os.environ, Path(folder)) as processes:
            yield Simulation(processes)


def trial(parameters: PolicyParameters) -> PolicyParameters:
    """The parameters with a tiny model that runs anywhere."""
    return replace(
        parameters,
        policy="dreamzero",
        checkpoint="",
        random_weights="tiny",
        device="cpu",
        dtype="float32",
    )
