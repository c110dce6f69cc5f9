# SPDX-License-Identifier: Apache-2.0
"""The robot description that a bag holds, and what it changes about the robot file."""

from __future__ import annotations

from dreamzero_ros.embodiment.description import with_description
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.embodiment.urdf import SOURCE
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.spans import TEXT


def described(bag: Bag, embodiment: Embodiment) -> tuple[Embodiment, str, tuple[str, ...]]:
    """The robot with the limits of the robot description, its text, and what is to be said about it.

    The text is the first on the only topic called ``robot_description`` in any namespace; it is empty where
    the bag has none, or several.

    Raises:
        BagError: The bag is damaged.
    """
    topics = [t.name for t in bag.topics.values() if t.type == TEXT and t.name.rpartition("/")[2] == SOURCE]
    if len(topics) > 1:
        return embodiment, "", (f"{SOURCE} is not used, the bag has several: {', '.join(topics)}",)
    first = next(bag.messages(topics), None) if topics else None
    if first is None:
        return embodiment, "", ()
    urdf = str(first.message.data)
    try:
        found = with_description(embodiment, urdf)
    except ValueError as error:
        return embodiment, "", (f"{SOURCE} is not used: {error}",)
    not_compared = (f"{sentence}; not compared" for sentence in found.not_compared)
    return found.robot, urdf, (*found.differences, *not_compared)
