# SPDX-License-Identifier: Apache-2.0
"""Makes a recording of videos: what a robot with these cameras would have recorded, while it waves gently.

The arm is simulated: trajectories are commanded every `COMMAND_STEPS` control steps, the controllers of the
simulation follow them, and the joints lag behind. It has nothing to do with what the videos show. The same
videos always make the same recording.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk, Frame
from dreamzero_ros.embodiment.schema import Controller, Embodiment
from dreamzero_ros.evaluation import messages
from dreamzero_ros.evaluation.messages import NS_PER_S
from dreamzero_ros.evaluation.recording import Recording
from dreamzero_ros.evaluation.streams import Stream
from dreamzero_ros.motion.timeline import due_times_ns
from dreamzero_ros.observation.buffer import JOINT_STATES
from dreamzero_ros.policy.wave import WavePolicy
from dreamzero_ros.sim.controller import SimJointTrajectoryController, TrajectoryCommand
from dreamzero_ros.sim.description import describe
from dreamzero_ros.sim.footage import Footage, ImageSet
from dreamzero_ros.sim.world import World

START_NS = 1_700_000_000 * NS_PER_S
"""Stamp of the first message, where no other is asked for [ns]: in November 2023."""
JOINT_RATE_HZ = 100
"""Of joint states and controllers [1/s]."""
COMMAND_STEPS = 8
"""From one trajectory to the next [control steps]; each reaches over the whole horizon."""
SEED = 0
"""Of the motion."""
QUALITY = 90
"""Of the JPEG images."""
DESCRIPTION = "/robot_description"

_Message = tuple[int, str, Any]
"""Log time [ns], topic, message."""
_Progress = Callable[[Iterable[ImageSet]], Iterable[ImageSet]]


def make_bag(
    footage: Footage,
    embodiment: Embodiment,
    streams: Sequence[Stream],
    path: Path,
    *,
    start_ns: int = START_NS,
    zstd: bool = False,
    progress: _Progress = iter,
) -> None:
    """Writes the recording.

    Images are JPEG, on the topics of the cameras. Stamps and log times are on one clock, and equal. Joints of
    controllers that do not take trajectories stay at the start pose.

    Args:
        footage: One video per camera of the robot.
        embodiment: The robot.
        streams: Its streams, on the topics that are written.
        path: Of the file; ends in .mcap.
        start_ns: Stamp of the first messages [ns]; not 0, which stands for none.
        zstd: Whether it is compressed; images already are.
        progress: Is given the image sets and passes them on.

    Raises:
        FootageError: A video ends early.
        OSError: The file cannot be written; then it is not there.
    """
    topics = {stream.name: stream.topic for stream in streams}
    length_ns = round((footage.length - 1) / footage.rate_hz * NS_PER_S)
    arm = _arm(embodiment, topics, start_ns, length_ns)
    images = _images(progress(footage.play()), topics, start_ns)
    with Recording(path, zstd, latched=(DESCRIPTION,)) as recording:
        recording.write(DESCRIPTION, start_ns, messages.text(describe(embodiment)))
        for log_ns, topic, message in heapq.merge(arm, images, key=lambda entry: entry[0]):
            recording.write(topic, log_ns, message)


def _images(image_sets: Iterable[ImageSet], topics: Mapping[str, str], start_ns: int) -> Iterator[_Message]:
    for image_set in image_sets:
        at_ns = start_ns + round(image_set.time_s * NS_PER_S)
        for camera, image in image_set.images.items():
            yield at_ns, topics[camera], messages.image(_jpeg(image), at_ns, camera)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, QUALITY)
    )
    assert encoded
    return bytes(data.tobytes())


def _arm(
    embodiment: Embodiment, topics: Mapping[str, str], start_ns: int, length_ns: int
) -> Iterator[_Message]:
    """Commands, and the joint states that come of them."""
    world = World.of(embodiment, start_ns)
    wave = WavePolicy(embodiment, SEED, noise=0.0)
    drives = [
        (entry, SimJointTrajectoryController(entry.joints, world.positions_of(entry.joints)))
        for entry in embodiment.controllers
        if entry.type == "joint_trajectory"
    ]
    command_ns = start_ns
    for tick in range(length_ns * JOINT_RATE_HZ // NS_PER_S + 1):
        now_ns = start_ns + tick * NS_PER_S // JOINT_RATE_HZ
        if now_ns >= command_ns:
            command_ns += round(COMMAND_STEPS * embodiment.dt_s * NS_PER_S)
            chunk = wave.infer(_frame(embodiment, world, now_ns))
            for entry, controller in drives:
                command = _command(chunk, entry)
                controller.submit(command, now_ns)
                message = messages.trajectory(
                    command.joints, now_ns, command.times_ns.tolist(), command.positions
                )
                yield now_ns, topics[entry.name], message
        for entry, controller in drives:
            setpoint, _ = controller.update(now_ns, world.positions_of(entry.joints))
            world.command(entry.joints, setpoint)
        world.advance(now_ns)
        yield (
            now_ns,
            topics[JOINT_STATES],
            messages.joint_state(world.joints, world.positions, world.velocities, now_ns),
        )


def _frame(embodiment: Embodiment, world: World, now_ns: int) -> Frame:
    """What the motion is made from: positions alone."""
    positions = world.positions_of(embodiment.state_joints)
    return Frame(stamp_ns=now_ns, images={}, image_stamps_ns={}, positions=positions, instruction="")


def _command(chunk: ActionChunk, entry: Controller) -> TrajectoryCommand:
    """The share of a controller."""
    columns = [chunk.joints.index(joint) for joint in entry.joints]
    return TrajectoryCommand(
        stamp_ns=chunk.stamp_ns,
        joints=entry.joints,
        times_ns=due_times_ns(0, chunk.dt_s, len(chunk.targets)),
        positions=chunk.targets[:, columns],
        velocities=None,
    )
