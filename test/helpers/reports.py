# SPDX-License-Identifier: Apache-2.0
"""Reports of episodes made by hand, with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dreamzero_ros.evaluation.episode import Episode, save
from dreamzero_ros.evaluation.measures import measure
from dreamzero_ros.evaluation.report.write import write_report
from dreamzero_ros.evaluation.summary import summarise

HOSTILE = "</script><script>broken = 1</script><img src=x onerror='broken = 2'>\"&amp;{{ 7 * 7 }}`|\n# x"
"""What a bag may hold where a name, an instruction or a reason is expected."""
DREAMED_EVERY = 2
"""Of the pictures every so manyth has a dreamed one."""


def make_report(folder: Path, episodes: Mapping[str, Episode]) -> dict[str, Any]:
    """Saves episodes with pictures, writes their report, and returns the content of its report.json.

    Args:
        folder: Of the evaluation.
        episodes: By id.
    """
    folders = {name: folder / "episodes" / name for name in episodes}
    for name, episode in episodes.items():
        save_pictures(folders[name], len(episode.pictures_ns))
        save(episode, folders[name])
    summary = make_summary(episodes)
    write_report(folder, summary, folders.items())
    return summary


def save_pictures(folder: Path, count: int) -> None:
    """A bright bar that moves over a dark ground, and the same in another colour as the dream."""
    for kind, colour, every in (
        ("observed", (80, 160, 240), 1),
        ("dreamed", (240, 120, 120), DREAMED_EVERY),
    ):
        (folder / kind).mkdir(parents=True)
        for index in range(0, count, every):
            picture = np.full((90, 160, 3), 40, np.uint8)
            picture[:, 5 * index % 150 :][:, :10] = colour
            cv2.imwrite(str(folder / kind / f"{index:06d}.jpg"), picture)


def make_summary(episodes: Mapping[str, Episode]) -> dict[str, Any]:
    """Content of report.json, with a bag that could not be read."""
    measures = [(name, measure(episode)) for name, episode in episodes.items()]
    return summarise(measures, failed=[{"bag": f"broken {HOSTILE}", "error": HOSTILE}], notices=[HOSTILE])
