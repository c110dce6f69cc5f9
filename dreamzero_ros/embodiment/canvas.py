# SPDX-License-Identifier: Apache-2.0
"""Where each camera lies on the one picture that the model sees; geometry only, no pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple


class Canvas(NamedTuple):
    """A grid of equal cells; (1, 1) is a single view without a mosaic."""

    rows: int
    columns: int


class Cell(NamedTuple):
    """The cells that one camera covers, counted from the top left corner of the canvas.

    A camera that spans several rows or columns is stretched to them by repeating its own rows and columns of
    pixels, never by interpolation.
    """

    row: int
    column: int
    row_span: int = 1
    column_span: int = 1

    def squares(self) -> Iterator[tuple[int, int]]:
        """Every (row, column) that is covered."""
        rows = range(self.row, self.row + self.row_span)
        columns = range(self.column, self.column + self.column_span)
        return product(rows, columns)

    def inside(self, canvas: Canvas) -> bool:
        """Whether the canvas holds all of it."""
        return (
            min(self.row, self.column) >= 0
            and min(self.row_span, self.column_span) >= 1
            and self.row + self.row_span <= canvas.rows
            and self.column + self.column_span <= canvas.columns
        )


def first_overlap(cells: Sequence[Cell]) -> tuple[int, int] | None:
    """Indices of the first two cells that share a square, or None."""
    owner: dict[tuple[int, int], int] = {}
    for index, cell in enumerate(cells):
        for square in cell.squares():
            if square in owner:
                return owner[square], index
            owner[square] = index
    return None
