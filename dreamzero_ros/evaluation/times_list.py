# SPDX-License-Identifier: Apache-2.0
"""Lists of episodes, as people and spreadsheets write them.

A line for each episode: begin and end [s], and, optionally, the instruction. Tabs, semicolons, commas or
blanks separate them, whichever come first in this order and leave two numbers at the begin of the line. Texts
may stand in quotes; what follows the second number is the instruction whole, whatever it holds. Lines that
begin with # and a first line of headings are passed over.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

_DELIMITERS = "\t", ";", ",", " "
_HEADING = re.compile(r"(begin|start)\b", re.IGNORECASE)
"""How a line of headings begins."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An episode of a list."""

    line: int
    """Number of its line, from 1."""
    begin_s: float
    """Begin [s]."""
    end_s: float
    """End [s]."""
    instruction: str
    """Empty where the list does not say it."""


def read_times(path: Path) -> list[Entry]:
    """Reads a list.

    Raises:
        ValueError: It cannot be read, or a line holds no episode; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        fix = "save it as CSV in UTF-8"
        raise ValueError(f"{path}: expected a list of times in UTF-8, got {error}; {fix}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        content = line.strip()
        if not content or content.startswith("#") or (number == 1 and _is_heading(content)):
            continue
        try:
            begin_s, end_s, instruction = _read(content)
        except ValueError as error:
            expected = "begin, end [s] and an instruction"
            got = f"{content!r} ({error})"
            raise ValueError(f"{path}, line {number}: expected {expected}, got {got}") from error
        entries.append(Entry(line=number, begin_s=begin_s, end_s=end_s, instruction=instruction))
    return entries


def _read(content: str) -> tuple[float, float, str]:
    problem = "no two numbers at its begin"
    for delimiter in _DELIMITERS:
        try:
            cells = _cells(content, delimiter)
        except csv.Error as error:
            problem = str(error)
            continue
        begin_s, end_s = (_number(cell, comma=delimiter != ",") for cell in (*cells, "", "")[:2])
        if math.isfinite(begin_s) and math.isfinite(end_s):
            rest = cells[2:]
            if len(rest) > 1:  # an instruction without quotes, and with the delimiter in it
                rest = content.split(None if delimiter == " " else delimiter, 2)[2:]
            return begin_s, end_s, "".join(rest).strip()
    raise ValueError(problem)


def _is_heading(content: str) -> bool:
    return bool(_HEADING.match(content.lstrip('"')))


def _cells(content: str, delimiter: str) -> list[str]:
    return next(csv.reader([content], delimiter=delimiter, skipinitialspace=True, strict=True))


def _number(cell: str, comma: bool) -> float:
    """A number, NaN where it is none; where commas do not separate, one may stand for the point."""
    try:
        return float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        return math.nan
