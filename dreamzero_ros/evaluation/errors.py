# SPDX-License-Identifier: Apache-2.0
"""The one error of bags."""

from __future__ import annotations

from pathlib import Path


class BagError(ValueError):
    """A bag that cannot be used; the text names file, what, expected, got and what to do."""

    def __init__(self, file: Path, what: str, expected: str, got: str, fix: str) -> None:
        super().__init__(f"{file}: {what}: expected {expected}, got {got}; {fix}")
        self.file = file
        self.what = what
        self.expected = expected
        self.got = got
        self.fix = fix
