# SPDX-License-Identifier: Apache-2.0
"""The one error of this folder."""

from __future__ import annotations


class MotionError(ValueError):
    """A chunk, trajectory or limit that must not reach a robot; the text says which value and where."""
