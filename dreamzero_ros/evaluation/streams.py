# SPDX-License-Identifier: Apache-2.0
"""What a robot needs of a bag: streams and the topics that they are on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.observation.buffer import JOINT_STATES


class Kind(Enum):
    """What a stream carries; the value lists the message types that are read."""

    CAMERA = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
    JOINT_STATES = ("sensor_msgs/msg/JointState",)
    COMMANDS = ("trajectory_msgs/msg/JointTrajectory",)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream of observations or commands."""

    name: str
    """The camera, `JOINT_STATES`, or the controller."""
    kind: Kind
    """What it carries."""
    topic: str
    """Full name of its topic."""

    @property
    def required(self) -> bool:
        """Whether there are no frames without it; later joint states can stand for commands."""
        return self.kind is not Kind.COMMANDS


def streams(
    embodiment: Embodiment, topics: Mapping[str, str] | None = None, namespace: str = "/"
) -> tuple[Stream, ...]:
    """The streams of a robot, on the topics that its nodes use.

    Args:
        embodiment: The robot.
        topics: Other topics, by name of the stream.
        namespace: Holds for all relative topics.

    Raises:
        ValueError: `topics` names a stream that the robot does not have.
    """
    wanted = [Stream(name=c.name, kind=Kind.CAMERA, topic=c.topic) for c in embodiment.cameras]
    wanted.append(Stream(name=JOINT_STATES, kind=Kind.JOINT_STATES, topic=JOINT_STATES))
    wanted += [
        Stream(name=c.name, kind=Kind.COMMANDS, topic=f"{c.name}/joint_trajectory")
        for c in embodiment.controllers
        if c.type == "joint_trajectory"
    ]
    other = dict(topics or {})
    names = [stream.name for stream in wanted]
    for name in other:
        if name not in names:
            raise ValueError(f"expected a stream of {embodiment.name}, got {name!r}; {nearest(name, names)}")
    return tuple(
        replace(stream, topic=_full(other.get(stream.name, stream.topic), namespace)) for stream in wanted
    )


def _full(topic: str, namespace: str) -> str:
    return topic if topic.startswith("/") else f"/{namespace.strip('/')}/{topic}".replace("//", "/")
