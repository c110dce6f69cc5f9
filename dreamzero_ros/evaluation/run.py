# SPDX-License-Identifier: Apache-2.0
"""Plays the episodes of many bags, in this process or in several, and writes one report over all.

An episode is finished once its folder is there; what was finished is not played again. The report does not
depend on the order in which episodes were finished.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from dreamzero_ros.evaluation.cluster import on_cluster
from dreamzero_ros.evaluation.episode import load
from dreamzero_ros.evaluation.job import Job, Player, Unit, played
from dreamzero_ros.evaluation.measures import measure
from dreamzero_ros.evaluation.plan import Planned
from dreamzero_ros.evaluation.predictions import write_predictions
from dreamzero_ros.evaluation.report.write import write_report
from dreamzero_ros.evaluation.summary import summarise, write_summary
from dreamzero_ros.policy.factory import share_cores

Progress = Callable[[float], None]
"""Called with seconds of bag that were played since the last call."""

PREDICTIONS = "predictions"
"""Folder of the recordings of what was answered, each named like its bag."""

_NS = 1_000_000_000


def play_all(
    job: Job,
    plan: Sequence[Planned],
    out: Path,
    workers: int = 1,
    progress: Progress = lambda seconds: None,
    cluster: str = "",
) -> dict[str, str]:
    """Plays every episode of a plan that is not finished.

    Args:
        job: What is evaluated.
        plan: The episodes.
        out: Folder of the evaluation.
        workers: Processes, each with a policy of its own.
        progress: See there; finished episodes count as played.
        cluster: Address of a Ray cluster on which the processes are; empty: this machine.

    Returns:
        By path of the bag: why an episode of it could not be played to its end, in words.

    Raises:
        ValueError: The policy cannot be had, or Ray is not installed.
        OSError: Something cannot be written, for example because the disk is full.
        RuntimeError: A process ended before its work was done.
    """
    units = [unit for planned in plan for unit in planned.units]
    open_ = [unit for unit in units if not unit.folder(out).exists()]
    progress(sum(_seconds(unit) for unit in units) - sum(_seconds(unit) for unit in open_))
    if not open_:
        return {}
    failed = {}
    for unit, words in _all(job, open_, out, workers, progress, cluster):
        if words:
            failed[str(unit.bag)] = words
    return failed


def _all(
    job: Job, units: Sequence[Unit], out: Path, workers: int, progress: Progress, cluster: str
) -> Iterator[tuple[Unit, str]]:
    """Each episode as it is finished, and why it could not be played to its end, or nothing."""
    if workers == 1 and not cluster:
        yield from _here(job, units, out, progress)
        return
    elsewhere = on_cluster(job, units, out, workers, cluster) if cluster else _apart(job, units, out, workers)
    for unit, words in elsewhere:
        progress(_seconds(unit))
        yield unit, words


def report(plan: Sequence[Planned], failed: dict[str, str], out: Path) -> dict[str, Any] | None:
    """Writes the report over all finished episodes, and for each bag a recording of what was answered.

    Args:
        plan: The episodes.
        failed: As `play_all` returns it.
        out: Folder of the evaluation.

    Returns:
        Content of report.json; None, and no report, when no episode is finished.

    Raises:
        ValueError: An episode cannot be read, or they do not fit together.
        OSError: Something cannot be written.
    """
    finished = [(u.id, u.folder(out)) for planned in plan for u in planned.units if u.folder(out).exists()]
    if not finished:
        return None
    summary = summarise(
        [(name, measure(load(folder))) for name, folder in finished],
        [{"bag": str(path), "error": words} for path, words in failures(plan, failed)],
        [f"{planned.name}: {notice}" for planned in plan for notice in planned.notices],
    )
    for planned in plan:
        folders = [unit.folder(out) for unit in planned.units if unit.folder(out).exists()]
        if folders:
            write_predictions(folders, out / PREDICTIONS / f"{planned.name}.mcap")
    write_summary(out, summary)
    write_report(out, summary, finished)
    return summary


def failures(plan: Sequence[Planned], failed: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """Bags of which something is missing, and why, in order."""
    for planned in plan:
        words = planned.error or failed.get(str(planned.path), "")
        if words:
            yield planned.path, words


def _here(job: Job, units: Sequence[Unit], out: Path, progress: Progress) -> Iterator[tuple[Unit, str]]:
    player = Player(job)
    try:
        for unit in units:
            clock = _Clock(unit, progress)
            yield unit, played(player, unit, out, clock.advance)
            clock.advance(unit.span.end_ns)
    finally:
        player.close()


def _apart(job: Job, units: Sequence[Unit], out: Path, workers: int) -> Iterator[tuple[Unit, str]]:
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch may hang
    prepare = partial(_open, job, workers)
    with ProcessPoolExecutor(min(workers, len(units)), context, prepare) as pool:
        waiting: dict[Future[str], Unit] = {pool.submit(_work, unit, out): unit for unit in units}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            fix = "was it killed for its memory? use fewer workers; finished episodes are kept"
            raise RuntimeError(f"a worker ended before its work was done: {fix}") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if not all(future.done() for future in waiting):
                for child in multiprocessing.active_children():
                    child.terminate()


_player: Player | ValueError
"""Of a worker, or why it has none."""


def _open(job: Job, workers: int) -> None:
    """Prepares a worker."""
    global _player
    share_cores(workers)
    try:
        _player = Player(job)
    except ValueError as error:
        _player = ValueError(str(error))  # errors with further arguments do not travel


def _work(unit: Unit, out: Path) -> str:
    if isinstance(_player, ValueError):
        raise _player
    return played(_player, unit, out)


class _Clock:
    """Turns log times of an episode into seconds that were played."""

    def __init__(self, unit: Unit, progress: Progress) -> None:
        self._reached_ns = unit.span.start_ns
        self._progress = progress

    def advance(self, log_ns: int) -> None:
        if log_ns > self._reached_ns:
            self._progress((log_ns - self._reached_ns) / _NS)
            self._reached_ns = log_ns


def _seconds(unit: Unit) -> float:
    return (unit.span.end_ns - unit.span.start_ns) / _NS
