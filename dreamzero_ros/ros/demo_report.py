# SPDX-License-Identifier: Apache-2.0
"""A recording -> a strip of images, a plot of the joints and the run as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.interfaces import Chunk
from dreamzero_ros.ros.messages import trajectory_of
from dreamzero_ros.ros.recorder import Recording

matplotlib.use("Agg")

NS_PER_S = 1_000_000_000
STRIP_COLUMNS = 6
"""Pairs of observed and dreamed images in the strip."""
TRACE_HZ = 25
"""Rate of the joint traces in the JSON."""
LEAD_IN_NS = NS_PER_S // 2
"""Shown before the first command [ns]."""
UNTRAINED = "untrained weights: the dream is noise by nature"


def write_report(recording: Recording, folder: Path, trained: bool) -> dict[str, Any]:
    """Writes strip.png, joints.png and run.json; returns the summary that stands in the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    trace = _trace(recording)
    summary = _summary(recording, trace)
    _plot_strip(recording, trace.start_ns, folder / "strip.png", "" if trained else UNTRAINED)
    _plot_joints(recording, trace, folder / "joints.png")
    run = {
        "summary": summary,
        "joints": list(recording.joints),
        "chunks": [
            _chunk(recording, index) for index in range(min(len(recording.statuses), len(recording.chunks)))
        ],
        "trace": {
            "time_s": trace.time_s.round(4).tolist(),
            "measured": trace.measured.round(6).tolist(),
            "commanded": [[None if np.isnan(v) else round(v, 6) for v in row] for row in trace.commanded],
        },
    }
    _write(folder / "run.json", json.dumps(run, indent=1).encode())
    return summary


class _Trace:
    """Measured and commanded joints on one time axis, from shortly before the first command on."""

    def __init__(self, start_ns: int, time_s: Any, measured: Any, commanded: Any) -> None:
        self.start_ns = start_ns
        self.time_s: NDArray[np.float64] = time_s
        self.measured: NDArray[np.float64] = measured
        self.commanded: NDArray[np.float64] = commanded


def _trace(recording: Recording) -> _Trace:
    stamps = np.array(recording.measured_ns)
    start_ns, end_ns = _first_command_ns(recording) - LEAD_IN_NS, int(stamps[-1])
    grid_ns = np.arange(start_ns, end_ns, NS_PER_S // TRACE_HZ)
    rows = np.array(recording.measured)
    measured = np.stack([np.interp(grid_ns, stamps, column) for column in rows.T], axis=1)
    commanded = np.full_like(measured, np.nan)
    for message in recording.commands:
        trajectory = trajectory_of(message)
        columns = [recording.joints.index(joint) for joint in trajectory.joints]
        after = grid_ns >= trajectory.start_ns
        commanded[np.ix_(after, columns)] = trajectory.sample(grid_ns[after])[0]
    return _Trace(start_ns, (grid_ns - start_ns) / NS_PER_S, measured, commanded)


def _first_command_ns(recording: Recording) -> int:
    return min((stamp_ns(message) for message in recording.commands), default=recording.measured_ns[0])


def _summary(recording: Recording, trace: _Trace) -> dict[str, Any]:
    statuses, result = recording.statuses, recording.result
    following = ~np.isnan(trace.commanded).any(axis=1)
    error = np.abs(trace.measured - trace.commanded)[following]
    last = statuses[-1] if statuses else None
    return {
        "embodiment": last.embodiment if last else "",
        "policy": last.policy if last else "",
        "instruction": last.instruction if last else "",
        "outcome": result.reason if result else "no result",
        "chunks": len(recording.chunks),
        "deadline_misses": int(last.deadline_misses) if last else 0,
        "limit_hits": int(last.limit_hits) if last else 0,
        "targets_used": int(sum(chunk.used for chunk in recording.chunks)),
        "targets_dropped": int(sum(chunk.dropped for chunk in recording.chunks)),
        "latency_median_s": float(np.median([chunk.latency_s for chunk in recording.chunks] or [np.nan])),
        "largest_step": max((status.largest_step for status in statuses), default=0.0),
        "tracking_error_mean": float(error.mean()) if len(error) else None,
        "tracking_error_max": float(error.max()) if len(error) else None,
    }


def _chunk(recording: Recording, index: int) -> dict[str, Any]:
    status = recording.statuses[index]
    return {
        "instruction": status.instruction,
        "observation_age_s": round(status.observation_age_s, 4),
        "latency_s": {s: round(v, 4) for s, v in zip(status.stages, status.latency_s, strict=True)},
        "targets_used": status.targets_used,
        "targets_dropped": status.targets_dropped,
        "largest_step": status.largest_step,
        "context_frames": status.context_frames,
        "computed_steps": status.computed_steps,
        "capture_interval_steps": status.capture_interval_steps,
        "targets": _targets(recording.chunks[index]),
    }


def _targets(chunk: Chunk) -> list[list[float]]:
    table = np.reshape(chunk.targets, (-1, len(chunk.joint_names)))
    rows: list[list[float]] = table.round(6).tolist()
    return rows


def _plot_strip(recording: Recording, start_ns: int, path: Path, note: str) -> None:
    """Observed images above what had been dreamed for their time."""
    pairs = [(picture, _nearest(recording.imagined, picture[0])) for picture in recording.observed]
    pairs = [pair for pair in pairs if pair[1] is not None][-STRIP_COLUMNS:]
    figure = Figure(figsize=(3 * max(1, len(pairs)), 4.2), layout="constrained")
    figure.suptitle(f"Observed (top) and dreamed for the same time (bottom){': ' + note if note else ''}")
    axes = figure.subplots(2, max(1, len(pairs)), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for column, ((seen_ns, seen), (_, dreamed)) in enumerate(pairs):
        axes[0, column].imshow(seen)
        axes[0, column].set_title(f"t = {(seen_ns - start_ns) / NS_PER_S:.1f} s", fontsize=9)
        axes[1, column].imshow(dreamed)
    _save(figure, path)


def _nearest(pictures: list[tuple[int, NDArray[np.uint8]]], at_ns: int) -> Any:
    """The picture dreamed for a time, at most 0.2 s away; None where there is none."""
    close = [picture for picture in pictures if abs(picture[0] - at_ns) <= NS_PER_S // 5]
    return min(close, key=lambda picture: abs(picture[0] - at_ns), default=None)


def _plot_joints(recording: Recording, trace: _Trace, path: Path) -> None:
    count = len(recording.joints)
    rows = (count + 1) // 2
    figure = Figure(figsize=(14, 2.2 * rows), layout="constrained")
    figure.suptitle("Commanded and measured joints [rad or m]; vertical lines: a new chunk takes over")
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False)
    boundaries = [(stamp_ns(chunk.trajectory) - trace.start_ns) / NS_PER_S for chunk in recording.chunks]
    for index, axis in enumerate(axes.flat[:count]):
        for boundary in boundaries:
            axis.axvline(boundary, color="0.8", linewidth=0.8)
        axis.plot(trace.time_s, trace.commanded[:, index], color="tab:orange", label="commanded")
        axis.plot(trace.time_s, trace.measured[:, index], color="tab:blue", linewidth=1, label="measured")
        axis.set_title(recording.joints[index], fontsize=9, loc="left")
        axis.margins(x=0)
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("time [s]")
    axes[0, 0].legend(loc="upper right", fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    part = path.with_suffix(".part.png")
    figure.savefig(part, dpi=90)
    part.replace(path)


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_bytes(data)
    part.replace(path)
