# SPDX-License-Identifier: Apache-2.0
"""Times reading a bag, and the report of one hour of recording."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from dreamzero_ros.evaluation import reading_bench
from dreamzero_ros.evaluation.episode import Calls, Episode, save
from dreamzero_ros.evaluation.measures import measure as measure_episode
from dreamzero_ros.evaluation.pictures import DREAMED, OBSERVED, picture_name
from dreamzero_ros.evaluation.report.write import PAGE, write_report
from dreamzero_ros.evaluation.summary import summarise

CALLS, HORIZON, DT_S = 2250, 24, 1 / 15
"""Of an hour: one call for every 24 control steps at 15 Hz."""
JOINTS, CAMERAS, STAGES, IMAGES = 8, 3, 5, 8
PICTURES_PER_CALL = 8


def measure() -> dict[str, float]:
    """How fast bags are read; seconds from an episode of an hour to its report, the size of its page [MB]."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = folder / "episodes" / "hour"
        episode = _hour()
        _save(episode, place)
        begin = time.perf_counter()
        write_report(folder, summarise([("hour", measure_episode(episode))]), [("hour", place)])
        taken_s = time.perf_counter() - begin
        size = (place / PAGE).stat().st_size
    report = {"report_of_an_hour_s": round(taken_s, 2), "page_of_an_hour_mb": round(size / 1e6, 1)}
    return reading_bench.measure() | report


def print_table(results: dict[str, float]) -> None:
    """Prints what `measure` returned."""
    reading_bench.print_table(results)
    print(f"{f'report of one hour: {CALLS} calls of {HORIZON} x {JOINTS} targets':<60}")
    print(f"  {'metrics and pages [s]':<58}{results['report_of_an_hour_s']:10.2f}")
    print(f"  {'page of the episode [MB]':<58}{results['page_of_an_hour_mb']:10.1f}")


def _save(episode: Episode, folder: Path) -> None:
    """With pictures that are there, but empty: nothing looks into them."""
    for kind in (OBSERVED, DREAMED):
        (folder / kind).mkdir(parents=True)
        for index in range(len(episode.pictures_ns)):
            (folder / kind / picture_name(index)).touch()
    save(episode, folder)


def _hour() -> Episode:
    rng = np.random.default_rng(0)
    step_ns = round(DT_S * 1e9)
    captured_ns = HORIZON * step_ns * np.arange(1, CALLS + 1)
    times_ns = step_ns * np.arange(HORIZON * (CALLS + 2))
    phases = rng.uniform(0, 2 * np.pi, JOINTS)
    measured = np.sin(times_ns[:, None] / 1e9 + phases)
    recorded = measured[HORIZON + 1 : -HORIZON + 1].reshape(CALLS, HORIZON, JOINTS)
    targets = recorded + rng.normal(0, 0.05, recorded.shape)
    jumps = rng.normal(0, 0.01, (CALLS, 2, JOINTS))
    age_s = rng.uniform(0.1, 0.4, CALLS)
    dropped = np.ceil(age_s / DT_S).astype(np.int64)
    calls = Calls(
        captured_ns=captured_ns,
        asked_ns=captured_ns,
        answered_ns=captured_ns + np.round(1e9 * age_s).astype(np.int64),
        new_session=np.arange(CALLS) == 0,
        positions=measured[HORIZON:-HORIZON:HORIZON],
        targets=targets,
        planned=np.where(np.arange(HORIZON)[:, None] < dropped[:, None, None], np.nan, targets),
        recorded=recorded,
        repeated=recorded,
        used=HORIZON - dropped,
        dropped=dropped,
        late=rng.random(CALLS) < 0.01,
        limit_hits=rng.integers(0, 2, CALLS),
        time_scale=np.ones(CALLS),
        raw_jump=jumps,
        spliced_jump=jumps,
        raw_jerk=jumps[:, 0],
        planned_jerk=jumps[:, 1],
        observation_age_s=age_s,
        image_age_s=rng.uniform(0, 0.1, (CALLS, CAMERAS)),
        stages_s=rng.uniform(0, 0.1, (CALLS, STAGES)),
        psnr=rng.uniform(20, 30, (CALLS, IMAGES)),
        ssim=rng.uniform(0.5, 0.9, (CALLS, IMAGES)),
    )
    joints = tuple(f"joint{j}" for j in range(JOINTS))
    return Episode(
        bag="hour",
        number=0,
        start_ns=0,
        end_ns=int(times_ns[-1]),
        instruction="bench",
        embodiment="bench",
        policy="bench",
        settings={},
        joints=joints,
        grippers=joints[-1:],
        units=("rad",) * (JOINTS - 1) + ("ratio",),
        lower=np.full(JOINTS, -2.8),
        upper=np.full(JOINTS, 2.8),
        dt_s=DT_S,
        cameras=tuple(f"camera{c}" for c in range(CAMERAS)),
        stages=tuple(f"stage{s}" for s in range(STAGES)),
        reference="commands",
        urdf="",
        holds={},
        notices=(),
        measured_ns=times_ns,
        measured=measured,
        pictures_ns=times_ns[:: HORIZON // PICTURES_PER_CALL],
        calls=calls,
    )
