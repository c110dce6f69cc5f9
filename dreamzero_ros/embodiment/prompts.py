# SPDX-License-Identifier: Apache-2.0
"""The sentences around an instruction, exactly as the reference release builds them.

The text encoder was trained on these strings: a changed letter is another condition.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_INSTRUCTION = "Perform the default behavior."
"""What a missing instruction stands for."""

_MARKERS = ("<LAPA>", "<DREAM>", "<COTRAIN>")


@dataclass(frozen=True, kw_only=True)
class Template:
    """What the sentence of one modality tag says."""

    text: str
    """``{x}`` stands for the instruction in lower case."""
    min_views: int = 1
    """Fewest cameras with which the tag was trained."""


_WRIST_AND_EXTERIORS = (
    "A multi-view video shows that a robot {x} The video is split into three views: The top view "
    "shows the camera view from the robot's wrist, the bottom-left view shows the camera view "
    "from the left exterior camera, and the bottom-right view shows the camera view from the "
    "right exterior camera. During training, one of the two bottom exterior views may be a black "
    "screen (dropped view). The robot {x}"
)
_HEAD_AND_HANDS = (
    "A multi-view video shows that a robot {x} The video is split into four views: The top-left "
    "view shows the camera view from the robot's head, the top-right view shows the camera view "
    "from the right hand, the bottom-left view shows the camera view from the left hand, and the "
    "bottom-right view is a black screen (inactive view). The robot {x}"
)
_TOP_AND_SIDES = (
    "A multi-view video shows that a robot {x} The video is split into four views: The top-left "
    "view shows the top camera, the top-right view shows the right camera, the bottom-left view "
    "shows the left camera, and the bottom-right view is a black screen. The robot {x}"
)
_HUMAN = "A single view video shows that a human {x}"

TEMPLATES: Mapping[str, Template] = {
    "oxe_droid": Template(text=_WRIST_AND_EXTERIORS),
    "agibot": Template(text=_HEAD_AND_HANDS, min_views=2),
    "xdof": Template(text=_HEAD_AND_HANDS),
    "yam": Template(text=_TOP_AND_SIDES),
    "gr1_unified": Template(text=_HUMAN),
    "mecka_hands": Template(text=_HUMAN),
}
"""By modality tag; other tags have no sentence and cannot be run."""


def prompt(tag: str, instruction: str | None) -> str:
    """The text that is handed to the tokenizer.

    Args:
        tag: Modality tag, one of `TEMPLATES`.
        instruction: What the robot is to do; None stands for `DEFAULT_INSTRUCTION`. Where it reads as a
            Python list or tuple, its first element is meant.

    Raises:
        ValueError: The tag has no sentence, or the instruction is an empty list.
    """
    if tag not in TEMPLATES:
        raise ValueError(f"tag: expected one of {', '.join(TEMPLATES)}, got {tag!r}")
    text = _plain(DEFAULT_INSTRUCTION if instruction is None else instruction)
    return clean(TEMPLATES[tag].text.format(x=text.lower()))


def clean(text: str) -> str:
    """Repairs broken Unicode, resolves HTML entities twice and collapses white space."""
    import ftfy  # launch files read robots, too, in the system's Python, which does not have it

    unescaped = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", unescaped.strip()).strip()


def _plain(instruction: str) -> str:
    """The instruction out of a Python literal, without the markers of the training data."""
    try:
        value = ast.literal_eval(instruction)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = instruction
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError(
                f"instruction: expected words or a list that begins with them, got {instruction!r}"
            )
        value = value[0]
    text = str(value)
    for marker in _MARKERS:
        text = text.replace(marker, "")
    return text
