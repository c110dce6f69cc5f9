# SPDX-License-Identifier: Apache-2.0
"""A chunk that must not be executed is refused with words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chunks import NS, STAMP_NS, Chunk, some_limits

from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.plan import Settings, plan
from dreamzero_ros.motion.trajectory import Floats, Trajectory, hold

pytestmark = pytest.mark.cpu


def bad(i: int, j: int, value: float) -> Chunk:
    targets = np.zeros((24, 3))
    targets[i, j] = value
    return Chunk(targets)


OTHER = hold(("x", "y", "z"), np.zeros(3), STAMP_NS)


@pytest.mark.parametrize(
    ("chunk", "executing", "measured", "words"),
    [
        (bad(7, 1, np.nan), None, np.zeros(3), "target 7 of joint1 is nan"),
        (bad(23, 2, -np.inf), None, np.zeros(3), "target 23 of joint2 is -inf"),
        (bad(0, 0, 0.0), None, np.array([0.0, np.nan, 0.0]), "joint1 is nan"),
        (bad(0, 0, 0.0), None, np.zeros(4), r"3 joints.*\(4,\)"),
        (bad(0, 0, 0.0), OTHER, np.zeros(3), "are being executed"),
        (Chunk(np.zeros((0, 3))), None, np.zeros(3), r"horizon.*\(0, 3\)"),
        (replace(bad(0, 0, 0.0), stamp_ns=STAMP_NS + NS), None, np.zeros(3), "1.000 s in the future"),
        (bad(0, 0, 0.0), None, np.array([0.1, -0.6, 0.0]), "joint1 is 0.000, measured -0.600"),
    ],
)
def test_refuses_with_words(chunk: Chunk, executing: Trajectory | None, measured: Floats, words: str) -> None:
    with pytest.raises(MotionError, match=words):
        plan(chunk, executing, measured, STAMP_NS, some_limits(3))


def test_the_first_used_target_counts_not_the_first() -> None:
    """After a delay the arm has moved on; what lies behind is dropped, not compared."""
    targets = np.linspace(1.0, 0.0, 24)[:, None]
    late_ns = STAMP_NS + round(20 / 15 * NS)
    assert plan(Chunk(targets), None, np.zeros(1), late_ns, some_limits(1)).dropped == 20
    with pytest.raises(MotionError, match="first target"):
        plan(Chunk(targets), None, np.zeros(1), STAMP_NS, some_limits(1))


def test_a_joint_may_be_excepted_from_the_start_tolerance() -> None:
    targets = np.tile([0.0, 1.0], (24, 1))
    settings = Settings(start_tolerance=np.array([0.5, np.inf]))
    assert plan(Chunk(targets), None, np.zeros(2), STAMP_NS, some_limits(2), settings).used == 24


def test_a_mask_of_grippers_must_fit() -> None:
    settings = Settings(grippers=np.array([False, True]))
    with pytest.raises(MotionError, match=r"3 joints.*grippers of shape \(2,\)"):
        plan(bad(0, 0, 0.0), None, np.zeros(3), STAMP_NS, some_limits(3), settings)
