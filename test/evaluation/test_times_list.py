# SPDX-License-Identifier: Apache-2.0
"""Lists of episodes are read whole, as people and spreadsheets write them, or refused with the line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.evaluation.times_list import read_times

pytestmark = pytest.mark.cpu

LISTS = {
    "a number sign": (
        '0.5,1.5,"pick up block #2 and leave block #3"\n',
        "pick up block #2 and leave block #3",
    ),
    "without quotes": ("0.5,1.5,pick up #2, then #3\n", "pick up #2, then #3"),
    "a remark": ("# 0.1,0.2,no\n 0.5 1.5 yes # said\n", "yes # said"),
    "a byte-order mark": ("\ufeff0.5,1.5,yes\n", "yes"),
    "headings": ("\ufeffBegin [s];End [s];Instruction\r\n0.5;1.5;yes\r\n", "yes"),
    "semicolons and decimal commas": ('0,5;1,5;"one; two, three"\n', "one; two, three"),
    "tabs": ("0.5\t1.5\tone, two; three\n", "one, two; three"),
    "quotes in quotes": ('0.5,1.5,"say ""hi"", then go"\n', 'say "hi", then go'),
    "everything in quotes": ('"0.5","1.5","yes"\n', "yes"),
    "a semicolon that says something": ("0.5,1.5,one; two\n", "one; two"),
    "letters beyond ASCII": ("0.5,1.5,Tür öffnen \u2028 und zu\n", "Tür öffnen \u2028 und zu"),
}


@pytest.mark.parametrize(("content", "instruction"), LISTS.values(), ids=LISTS)
def test_lists_of_every_spreadsheet_are_read_whole(tmp_path: Path, content: str, instruction: str) -> None:
    times = tmp_path / "times.csv"
    times.write_bytes(content.encode())
    (entry,) = read_times(times)
    assert (entry.begin_s, entry.end_s, entry.instruction) == (0.5, 1.5, instruction)


@given(words=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0")), min_size=1))
def test_whatever_the_library_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    times = tmp_path_factory.getbasetemp() / "times.csv"
    with times.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([0.5, number, text] for number, text in enumerate(words, 1))
    assert [entry.instruction for entry in read_times(times)] == [text.strip() for text in words]
    assert [entry.end_s for entry in read_times(times)] == list(range(1, len(words) + 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'0,1,ok\n1,2,"open\n', "times.csv, line 2: expected begin, end"),
        (b"0,1,ok\n\nbegin,end\n", "line 3: .*no two numbers"),
        ("0,1,Tür".encode("cp1252"), "save it as CSV in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    times = tmp_path / "times.csv"
    times.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_times(times)
