# SPDX-License-Identifier: Apache-2.0
"""Writing files so that none is ever partial under its own name."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Writes a file beside its place, and puts it there when it is complete; text as UTF-8.

    Raises:
        OSError: It cannot be written, for example because the disk is full; what was there before still is.
    """
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)
