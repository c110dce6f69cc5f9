# SPDX-License-Identifier: Apache-2.0
"""The command `dreamzero-bench`: the loop by default, a GPU with the word `gpu`.

Only what a bench needs is imported, as a bare GPU machine has little installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["gpu"]:
        from dreamzero_ros.bench.gpu.command import main as report

        report(words[1:])
    else:
        from dreamzero_ros.bench.loop import main as loop

        loop(words)
