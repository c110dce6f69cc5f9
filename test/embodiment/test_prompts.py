# SPDX-License-Identifier: Apache-2.0
"""Prompts, letter by letter, against the reference release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamzero_ros.embodiment.prompts import DEFAULT_INSTRUCTION, TEMPLATES, clean, prompt
from dreamzero_ros.engine.config import NEGATIVE_PROMPT

pytestmark = pytest.mark.cpu


def test_every_row_of_the_reference(goldens: Path):
    for row in json.loads((goldens / "prompts.json").read_text())["rows"]:
        known = row["embodiment"] in TEMPLATES
        if "error" in row and known:
            assert row["num_views"] < TEMPLATES[row["embodiment"]].min_views, row
        elif "error" in row:
            with pytest.raises(ValueError, match="tag: expected one of oxe_droid"):
                prompt(row["embodiment"], row["prompt"])
        else:
            assert row["num_views"] >= TEMPLATES[row["embodiment"]].min_views, row
            assert prompt(row["embodiment"], row["prompt"]) == row["text_to_tokenizer"]


def test_the_negative_prompt_of_the_reference(goldens: Path):
    for robot in json.loads((goldens / "io.json").read_text()).values():
        for case in robot["cases"].values():
            assert clean(NEGATIVE_PROMPT) == case["negative_text_to_tokenizer"] == NEGATIVE_PROMPT
            assert prompt(robot["embodiment"], case["prompt"]) == case["text_to_tokenizer"]


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        (None, DEFAULT_INSTRUCTION.lower()),
        ("", ""),
        ("('Wave', 'x')", "wave"),
        ("[3, 'x']", "3"),
        ("<DREAM>Wave<LAPA> twice<COTRAIN>", "wave twice"),
        ("pick {x} and {y}", "pick {x} and {y}"),
        ("don't [stop", "don't [stop"),
        ("\0", "\0"),
        ("<b> &amp;amp;", "<b> &"),
    ],
)
def test_what_becomes_of_an_instruction(instruction: str | None, said: str):
    expected = f"A single view video shows that a human {said}".rstrip()
    assert prompt("gr1_unified", instruction).replace("\0", "") == expected.replace("\0", "").rstrip()


def test_an_empty_list_says_nothing():
    with pytest.raises(ValueError, match="a list that begins with them"):
        prompt("yam", "[]")
