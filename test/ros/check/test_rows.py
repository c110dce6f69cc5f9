# SPDX-License-Identifier: Apache-2.0
"""The table and the JSON document."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dreamzero_ros.ros.check.rows import WIDTH, Report, failed, failed_with, passed, skipped, warned

pytestmark = pytest.mark.ros


def report() -> tuple[Report, io.StringIO]:
    out = io.StringIO()
    return Report(Console(file=out, width=WIDTH, highlight=False)), out


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300))
def test_no_text_leaves_the_table(text: str) -> None:
    made, out = report()
    made.add(text[:90] or "-", [failed(text, text, text), passed(text, text)])
    made.conclude()
    assert max(map(len, out.getvalue().splitlines())) <= WIDTH


def test_brackets_are_no_markup_and_fixes_are_shown() -> None:
    made, out = report()
    made.add("Robot", [failed("file", "expected [arm=fr3]", "set [bold]it")])
    assert "[arm=fr3]" in out.getvalue() and "fix: set [bold]it" in out.getvalue()


def test_warnings_are_no_failures() -> None:
    made, _ = report()
    made.add("A", [passed("a", ""), warned("b", "", "x"), skipped("c", "")])
    assert made.ok
    made.add("B", [failed("d", "", "y")])
    assert not made.ok and made.failed("B") and not made.failed("A")
    document = json.loads(made.json())
    assert document["counts"] == {"pass": 1, "warn": 1, "fail": 1, "skipped": 1}
    assert document["rows"][3] == {
        "section": "B", "what": "d", "result": "fail", "finding": "", "fix": "y"
    }  # fmt: skip


def test_an_error_gives_finding_and_fix() -> None:
    row = failed_with("x", ValueError("file: a, got b; c, got d; do e"), "do f")
    assert (row.finding, row.fix) == ("file: a, got b; c, got d", "do e")
    assert failed_with("x", ValueError("broken"), "do f").fix == "do f"
