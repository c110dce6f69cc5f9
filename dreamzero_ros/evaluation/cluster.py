# SPDX-License-Identifier: Apache-2.0
"""Plays episodes on the machines of a Ray cluster; all of them see bags and output under the same paths."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamzero_ros.evaluation.job import Job, Player, Unit, played

LOCAL = "local"
"""Address for a cluster of this machine alone, which ends with the evaluation."""
TIMEOUT_S = 5.0
"""Longest wait for the host of a cluster [s]."""


def on_cluster(
    job: Job, units: Sequence[Unit], out: Path, workers: int, address: str
) -> Iterator[tuple[Unit, str]]:
    """Plays episodes; a worker takes the GPUs that the policy runs on, else one core.

    Args:
        job: What is evaluated.
        units: The episodes.
        out: Folder of the evaluation.
        workers: Actors, each with a policy of its own.
        address: Of the cluster, as `ray.init` takes it.

    Yields:
        Each episode as it is finished, and why it could not be played to its end, or nothing.

    Raises:
        ValueError: Ray is not installed, the cluster is too small, or the policy cannot be had.
        OSError: The cluster is not there, or something cannot be written.
        RuntimeError: A worker ended before its work was done.
    """
    ray = _ray()
    try:
        _require_listener(address)
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError) as error:
        raise OSError(f"--ray {address}: expected a Ray cluster, got {error}") from error
    try:
        count = min(workers, len(units))
        name, each = ("GPU", job.gpus) if job.gpus else ("CPU", 1)
        _require(ray.cluster_resources(), name, each, count)
        actor = ray.remote(**{f"num_{name.lower()}s": each})(_Worker)
        pool = ray.util.ActorPool([actor.remote(job, Path.cwd()) for _ in range(count)])
        absolute = out.resolve()
        yield from pool.map_unordered(lambda each, unit: each.play.remote(unit, absolute), list(units))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        raise RuntimeError(f"a worker ended before its work was done: {error}") from error
    finally:
        ray.shutdown()


class _Worker:
    """Plays on a machine of the cluster.

    Args:
        job: See there.
        folder: In which relative paths begin.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        os.chdir(folder)
        self._job = job
        self._player: Player | None = None

    def play(self, unit: Unit, out: Path) -> tuple[Unit, str]:
        if self._player is None:
            self._player = Player(self._job)
        return unit, played(self._player, unit, out)


def _require_listener(address: str) -> None:
    """Ray would wait for minutes for a host where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), TIMEOUT_S).close()


def _require(resources: Mapping[str, float], name: str, each: int, count: int) -> None:
    """Ray would wait without end for what the cluster does not have."""
    room = int(resources.get(name, 0)) // each
    if count > room:
        raise ValueError(
            f"--workers: expected at most {room}, each with {each} of the {name}s of the cluster, got {count}"
        )


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported from here
    try:
        import ray
    except ImportError as error:
        fix = "pip install -r requirements/ray.txt, or use --workers on one machine"
        raise ValueError(f"--ray needs Ray, which is not installed: {fix}") from error
    return ray
