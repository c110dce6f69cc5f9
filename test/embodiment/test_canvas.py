# SPDX-License-Identifier: Apache-2.0
"""Cells of the canvas."""

from __future__ import annotations

import pytest

from dreamzero_ros.embodiment.canvas import Canvas, Cell, first_overlap

pytestmark = pytest.mark.cpu


def test_a_cell_covers_its_spans():
    assert list(Cell(1, 0, 1, 2).squares()) == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("cell", "inside"),
    [
        (Cell(0, 0, 2, 2), True),
        (Cell(1, 1), True),
        (Cell(1, 1, 1, 2), False),
        (Cell(2, 0), False),
        (Cell(-1, 0), False),
        (Cell(0, 0, 0, 1), False),
    ],
)
def test_inside(cell: Cell, inside: bool):
    assert cell.inside(Canvas(2, 2)) is inside


def test_the_first_overlap_names_both():
    assert first_overlap([Cell(1, 0), Cell(1, 1), Cell(0, 0, 1, 2)]) is None
    assert first_overlap([Cell(1, 0), Cell(0, 0), Cell(0, 1, 2, 1), Cell(1, 1)]) == (2, 3)
