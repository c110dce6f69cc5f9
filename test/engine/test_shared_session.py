# SPDX-License-Identifier: Apache-2.0
"""Sessions shared by real processes against the same sessions alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ranks import FIVE, STARTUP_S, Answer, Case, every_call, lose, processes, share, tiny_engine
from rollouts import assert_equal, inputs, roll

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, EXACT

pytestmark = pytest.mark.cpu

CASES = {
    "eager": Case(FIVE, EAGER),
    "exact": Case(FIVE, EXACT),
    "trimmed": Case(FIVE, replace(EXACT, trim_guidance=True)),
    "dynamic": Case(SamplerConfig(dit_steps="dynamic"), EXACT),
}
LAYOUTS = {
    "guidance": (2, True, 3, ["exact", "dynamic"]),
    "tokens": (3, False, 3, ["eager"]),
    "both": (4, True, 2, ["eager", "trimmed"]),
}
"""Number of ranks, whether they split guidance, number of heads, and what they share."""
LAYOUTS_TRIED = [
    pytest.param(layout, marks=() if layout == "guidance" else pytest.mark.slow) for layout in LAYOUTS
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Answer]]:
    """Answers of all ranks by layout, each computed once."""

    @functools.cache
    def answers(layout: str) -> list[Answer]:
        *arguments, cases = LAYOUTS[layout]
        return share(tmp_path_factory.mktemp(layout), *arguments, {case: CASES[case] for case in cases})

    return answers


@pytest.mark.parametrize("layout", LAYOUTS_TRIED)
def test_ranks_answer_as_one_process_does(answers, layout: str) -> None:
    engine = tiny_engine(LAYOUTS[layout][2])
    for name in LAYOUTS[layout][3]:
        case = CASES[name]
        expected = roll(Session(engine, case.sampler, switches=case.switches), inputs(engine.config))
        for answer in answers(layout):
            assert_equal(answer.rollouts[name], expected)


@pytest.mark.parametrize("layout", LAYOUTS_TRIED)
def test_a_shared_session_is_used_like_one_alone(answers, layout: str) -> None:
    engine = tiny_engine(LAYOUTS[layout][2])
    assert_equal(answers(layout)[0].every_call, every_call(Session(engine, FIVE, 2), engine))


@pytest.mark.parametrize("layout", LAYOUTS_TRIED)
def test_every_rank_stores_its_share_of_keys_and_values(answers, layout: str) -> None:
    size, _, num_heads, _ = LAYOUTS[layout]
    alone = Session(tiny_engine(num_heads), FIVE)._branches.cache.storage.nbytes
    assert [answer.cache_bytes * size for answer in answers(layout)] == [alone] * size


@pytest.mark.parametrize(
    ("lost", "silent", "timeout_s"),
    [(0, False, 120), pytest.param(1, False, 120, marks=pytest.mark.slow), (1, True, 5)],
)
def test_a_lost_rank_ends_the_other(tmp_path: Path, lost: int, silent: bool, timeout_s: float) -> None:
    """At once where its process ended, after the timeout where it is silent."""
    with processes(lose, 2, tmp_path, lost, silent, timeout_s) as started:
        started[1 - lost].join(STARTUP_S)
        assert started[1 - lost].exitcode == 1
        assert started[lost].is_alive() == silent
    kind, waited, said = (tmp_path / f"{1 - lost}.txt").read_text().split(maxsplit=2)
    assert kind == "RankError"
    assert said.startswith(f"rank {1 - lost}: another rank ended or was silent for too long; end all")
    assert silent or float(waited) < timeout_s / 2, "the loss itself was noticed, not the silence"
