# SPDX-License-Identifier: Apache-2.0
"""Writes the pages and the table of an evaluation; one episode is in memory at a time."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dreamzero_ros.evaluation.episode import Episode, load
from dreamzero_ros.evaluation.files import write
from dreamzero_ros.evaluation.pictures import OBSERVED, picture_name
from dreamzero_ros.evaluation.report.episode_page import page_data
from dreamzero_ros.evaluation.report.markdown import markdown
from dreamzero_ros.evaluation.report.numbers import duration, quantity
from dreamzero_ros.evaluation.report.overview import flat, overview

REPORT, TABLE, PAGE = "report.html", "summary.md", "index.html"
"""Names of the files."""


def write_report(folder: Path, summary: dict[str, Any], episodes: Iterable[tuple[str, Path]]) -> None:
    """Writes report.html, summary.md and the page of each episode beside its pictures.

    Args:
        folder: Of the evaluation.
        summary: Content of report.json.
        episodes: Id, and folder of the finished episode: `folder`/episodes/<id>.

    Raises:
        ValueError: A folder holds no complete episode.
        OSError: A file cannot be written; no partial one is left under its final name.
    """
    pages = _environment()
    pictures: dict[tuple[str, int], str] = {}
    for name, path in episodes:
        episode = load(path)
        worst = [moment for moment in summary["worst"] if moment["episode"] == name]
        write(path / PAGE, _episode_page(pages, name, episode, path, summary, worst))
        for moment in worst:
            pictures[name, moment["call"]] = _picture(episode, path, moment["at_s"])
    write(folder / REPORT, pages.get_template("report.html").render(overview(summary, pictures)))
    write(folder / TABLE, markdown(summary))


def _environment() -> Environment:
    """Escapes whatever comes from bags; NaN, which no browser reads, is an error."""
    loader = PackageLoader("dreamzero_ros.evaluation.report", "")
    pages = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    pages.globals["asset"] = lambda name: Markup(loader.get_source(pages, name)[0])
    return pages


def _episode_page(
    pages: Environment,
    name: str,
    episode: Episode,
    folder: Path,
    summary: Mapping[str, Any],
    worst: Sequence[Mapping[str, Any]],
) -> str:
    data = page_data(episode, folder, worst)
    rows = summary["episodes"]
    place = next(i for i, row in enumerate(rows) if row["id"] == name)
    return pages.get_template("episode.html").render(
        name=name,
        episode=episode,
        duration=duration(episode.duration_s),
        calls=len(episode.calls.captured_ns),
        late=int(episode.calls.late.sum()),
        unused=int((episode.calls.used == 0).sum()),
        sessions=int(episode.calls.new_session.sum()),
        worst=worst,
        every=data["chunks"]["every"],
        metrics=_metrics(summary, rows[place]["metrics"]),
        settings=flat(episode.settings),
        previous=_neighbour(rows, place - 1),
        following=_neighbour(rows, place + 1),
        data=data,
    )


def _metrics(summary: Mapping[str, Any], values: Mapping[str, float | None]) -> list[dict[str, str]]:
    metrics = summary["metrics"]
    return [
        {"name": name, "value": quantity(value, metrics[name]["unit"]), "text": metrics[name]["text"]}
        for name, value in values.items()
        if name in metrics
    ]


def _neighbour(rows: Sequence[Mapping[str, Any]], place: int) -> str:
    """From the page of an episode to another; empty where there is none."""
    return f"../{quote(rows[place]['id'], safe='')}/{PAGE}" if 0 <= place < len(rows) else ""


def _picture(episode: Episode, folder: Path, at_s: float) -> str:
    """The picture observed last at a time, as data URI; empty where there is none."""
    index = int(np.searchsorted(episode.pictures_ns, episode.start_ns + round(at_s * 1e9), "right")) - 1
    path = folder / OBSERVED / picture_name(max(index, 0))
    if not path.exists():
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
