# SPDX-License-Identifier: Apache-2.0
"""Where the recorded vectors of the reference release are; who only reads them needs no torch."""

from __future__ import annotations

import os
from pathlib import Path


def goldens_folder() -> Path:
    """Return the folder of the vectors: DREAMZERO_GOLDENS, else the one of this checkout."""
    return Path(os.environ.get("DREAMZERO_GOLDENS", Path(__file__).parents[3] / "test" / "goldens"))
