# SPDX-License-Identifier: Apache-2.0
"""One finding of the preflight, and the report of all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100
"""Columns of the table."""


class Result(str, Enum):
    """What became of a check."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


STYLES = {Result.PASS: "green", Result.WARN: "yellow", Result.FAIL: "bold red", Result.SKIPPED: "dim"}


@dataclass(frozen=True)
class Row:
    """The answer to one question."""

    what: str
    """What was looked at."""
    result: Result
    finding: str
    """What was found, in words and numbers."""
    fix: str = ""
    """What to do; every warning and failure has one."""


def passed(what: str, finding: str) -> Row:
    """All is well."""
    return Row(what, Result.PASS, finding)


def warned(what: str, finding: str, fix: str) -> Row:
    """It will run, but somebody should know."""
    return Row(what, Result.WARN, finding, fix)


def failed(what: str, finding: str, fix: str) -> Row:
    """It will not run, or not safely."""
    return Row(what, Result.FAIL, finding, fix)


def skipped(what: str, finding: str, fix: str = "") -> Row:
    """It could not be looked at."""
    return Row(what, Result.SKIPPED, finding, fix)


def failed_with(what: str, error: Exception, fix: str) -> Row:
    """A failure in the words of an error; what stands behind its last semicolon is the fix, if anything."""
    finding, _, told = str(error).rpartition("; ")
    return failed(what, finding, told) if finding else failed(what, str(error), fix)


class Report:
    """Collects rows and prints them as they come.

    Args:
        console: Where they are printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sections: dict[str, list[Row]] = {}

    def add(self, section: str, rows: Sequence[Row]) -> None:
        """Takes the rows of a section and prints them."""
        if not rows:
            return
        self._sections.setdefault(section, []).extend(rows)
        table = Table(box=None, show_header=False, pad_edge=False, width=WIDTH)
        table.add_column(width=7)
        table.add_column(width=24, overflow="fold")
        table.add_column(overflow="fold", ratio=1)
        for row in rows:
            finding = Text(row.finding)
            if row.fix:
                finding.append(f"\nfix: {row.fix}", style="bold")
            table.add_row(Text(row.result.value, STYLES[row.result]), Text(row.what), finding)
        self._console.print(Text(section, "bold"))
        self._console.print(table)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not any(map(self.failed, self._sections))

    def failed(self, section: str) -> bool:
        """Whether a row of a section failed."""
        return any(row.result is Result.FAIL for row in self._sections.get(section, ()))

    def conclude(self) -> None:
        """Prints the counts."""
        counts = ", ".join(f"{count} {name}" for name, count in self._counts().items())
        verdict = "ready" if self.ok else "not ready: see the fixes above"
        self._console.print(Text(f"{counts}: {verdict}", "bold green" if self.ok else "bold red"))

    def json(self) -> str:
        """Everything as one JSON document."""
        rows = [
            {"section": section} | asdict(row) for section, rows in self._sections.items() for row in rows
        ]
        return json.dumps({"ok": self.ok, "counts": self._counts(), "rows": rows}, indent=2)

    def _counts(self) -> dict[str, int]:
        results = Counter(row.result for rows in self._sections.values() for row in rows)
        return {result.value: results[result] for result in Result}
