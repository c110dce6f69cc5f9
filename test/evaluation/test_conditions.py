# SPDX-License-Identifier: Apache-2.0
"""Conditions as people write them."""

from __future__ import annotations

import pytest

from dreamzero_ros.evaluation.compare import Change, Comparison
from dreamzero_ros.evaluation.conditions import fails, parse

pytestmark = pytest.mark.cpu

NAN = float("nan")


def change(a: float, b: float, unit: str = "rad", better: str | None = "lower") -> Change:
    return Change(unit=unit, better=better, a=a, b=b, low=NAN, high=NAN)  # type: ignore[arg-type]


COMPARISON = Comparison(
    changes={
        "rmse": change(0.100, 0.106),
        "rmse@8": change(0.2, 0.1),
        "direction": change(0.90, 0.87, "ratio", "higher"),
        "deadline_misses": change(0.0, 0.01, "ratio"),
        "limit_hits": change(0.0, 0.0, "/chunk"),
        "gripper_delay_s": change(0.1, -0.2, "s", None),
        "psnr": change(NAN, 20.0, "dB", "higher"),
    },
    episodes=3,
    only_a=(),
    only_b=(),
)


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        ("rmse>+5%", True),
        ("rmse>+6.5%", False),
        ("rmse > +5.5 %", True),
        (" rmse >+5.5% ", True),
        ("rmse>+0.005", True),
        ("rmse>+.007", False),
        ("rmse>+5e-3", True),
        ("rmse>0.1", True),
        ("rmse>0.11", False),
        ("rmse@8>+5%", False),
        ("rmse@8>-40%", False),
        ("rmse@8>-60%", True),
        ("direction<-2%", True),
        ("direction<-4%", False),
        ("direction<-0.02", True),
        ("direction<90%", True),
        ("direction<85%", False),
        ("direction<0.88", True),
        ("deadline_misses>+1000%", True),
        ("deadline_misses>2%", False),
        ("limit_hits>+0%", False),
        ("limit_hits>0", False),
        ("gripper_delay_s<-0.25", True),
        ("gripper_delay_s>+5%", False),
    ],
)
def test_conditions(condition: str, failed: bool) -> None:
    assert fails(COMPARISON, parse(condition)) is failed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rmse",
        "rmse>",
        "rmse=0.1",
        ">+5%",
        "rmse>+5%%",
        "rmse>+-5%",
        "rmse>five",
        "rmse>1 0",
        "rmse>+5% x",
    ],
)
def test_what_is_no_condition_shows_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected one such as 'rmse>\+5%'.* got "):
        parse(text)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("rmze>+5%", r"rmze>\+5%: .*did you mean 'rmse'"),
        ("direction>+2%", "expected direction<.*higher is better"),
        ("rmse<-5%", "expected rmse>.*lower is better"),
        ("rmse>10%", "expected a limit in rad, got one in percent"),
        ("psnr<-5%", "expected values of psnr in both reports, got nan and 20"),
    ],
)
def test_what_has_no_meaning_is_an_error_and_never_passes(condition: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fails(COMPARISON, parse(condition))
