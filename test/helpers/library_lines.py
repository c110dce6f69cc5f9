# SPDX-License-Identifier: Apache-2.0
"""Which lines of a command were written by libraries, and not by the command."""

from __future__ import annotations

import re

_LIBRARY = re.compile(
    r"torchao|diffusers|transformers|site-packages|\b\w*Warning: "
    r"|^[WE]\d{4} "  # the log of torch
)


def library_lines(text: str) -> list[str]:
    """The lines in which a library warns."""
    return [line for line in text.splitlines() if _LIBRARY.search(line)]
