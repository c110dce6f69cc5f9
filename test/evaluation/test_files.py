# SPDX-License-Identifier: Apache-2.0
"""Files are complete or as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamzero_ros.evaluation.files import write

pytestmark = pytest.mark.cpu


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write(path, "“grün”")
    assert path.read_text(encoding="utf-8") == "“grün”"
    write(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    """A full device takes the place of the unfinished file."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, which this system does not have")
    path = tmp_path / "report.html"
    write(path, "before")
    (tmp_path / "report.html.part").symlink_to(full)
    with pytest.raises(OSError, match="No space left"):
        write(path, "after")
    assert path.read_text() == "before"
