# SPDX-License-Identifier: Apache-2.0
"""A rollout on a made-up clock: a robot that sees and moves, and a policy that answers after a latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.policy.base import Foresight, Images
from dreamzero_ros.policy.rollout import Command, Request, Rollout, State
from dreamzero_ros.policy.settings import RolloutSettings

ROBOT = load("droid_franka")
MS = 1_000_000
SECOND = 1000 * MS
START = 1_000 * SECOND
FORESIGHT = Foresight(images=2, takes_s=0.1)
HOME = np.array([ROBOT.start_pose[joint] for joint in ROBOT.state_joints])


@dataclass(frozen=True)
class Foreseen:
    """Images that were given out ahead of a call."""

    at_ns: int
    requests: int
    """That had been made by then; so the number of the call to come."""
    commands: int
    """That had come of them."""
    state: State
    images: Images


ARM, HAND = tuple(range(7)), (7,)
"""Of the state joints."""


class Bench:
    """Feeds a rollout with images at the control rate and joint states at 100 Hz; answers after a latency.

    The images of the cameras differ, and change all the time. The arm is where it was told to be.
    """

    def __init__(
        self,
        latency_s: float = 0.3,
        seen_s: float = 2.0,
        robot: Embodiment = ROBOT,
        foresight: Foresight | None = FORESIGHT,
        hand_every_ms: int = 10,
        **options: object,
    ) -> None:
        self.robot = robot
        self.buffer = ObservationBuffer(robot, max_age_s=0.3)
        self.rollout = Rollout(self.robot, self.buffer, True, RolloutSettings(**options), foresight)
        self.latency_s = latency_s
        self.hand_every_ms = hand_every_ms
        self.answer: Callable[[Request], ActionChunk] = self.drift
        self.requests: list[Request] = []
        self.foreseen: list[Foreseen] = []
        self.commands: list[Command] = []
        self.stops: list[Trajectory] = []
        self.sent: list[Trajectory] = []
        """Of commands and stops, in order."""
        self.executing: Trajectory | None = None
        self.cameras = [camera.name for camera in robot.cameras]
        self._shapes = {camera.name: (camera.height, camera.width, 3) for camera in robot.cameras}
        self._period_ms = 5 * round(200 * robot.dt_s)
        self.speeds: list[float] = []
        self.now_ns = START
        self.run(seen_s)

    def drift(self, request: Request) -> ActionChunk:
        """All joints of the arm move slowly from where they were seen."""
        ramp = np.linspace(0.01, 0.1, ROBOT.horizon)[:, None] * np.append(np.ones(7), 0.0)
        targets = request.frame.positions + ramp * np.sign(-HOME + 1e-9)
        return ActionChunk(request.frame.stamp_ns, ROBOT.dt_s, ROBOT.command_joints, targets)

    def positions(self) -> np.ndarray:
        """In the order of the robot's state joints; those that nobody commands stay at the start pose."""
        found = dict(self.robot.start_pose)
        if self.executing is not None:
            found |= zip(self.executing.joints, self.executing.sample(self.now_ns)[0], strict=True)
        return np.array([found[joint] for joint in self.robot.state_joints])

    def fastest(self) -> float:
        """Largest speed of any joint at this time [rad/s]."""
        return float(np.abs(self.executing.sample(self.now_ns)[1]).max())

    def run(self, seconds: float) -> None:
        """Lets time pass in steps of 5 ms."""
        for _ in range(round(seconds * 200)):
            self.now_ns += 5 * MS
            elapsed_ms = (self.now_ns - START) // MS
            self.speeds.append(0.0 if self.executing is None else self.fastest())
            if elapsed_ms % 10 == 0:
                self.feel(elapsed_ms)
            if elapsed_ms % self._period_ms == 0:
                for number, camera in enumerate(self.cameras):
                    colour = np.uint8((elapsed_ms // self._period_ms + 7 * number) % 251)
                    image = np.broadcast_to(colour, self._shapes[camera])
                    self.buffer.add_image(camera, self.now_ns, image)
            self.keep(self.rollout.watch(self.now_ns))
            request = self.rollout.request(self.now_ns)
            if request is not None:
                self.requests.append(request)
                self.due_ns = self.now_ns + round(self.latency_s * SECOND)
            images = self.rollout.foresee(self.now_ns)
            if images is not None:
                state = self.rollout.state
                self.foreseen.append(
                    Foreseen(self.now_ns, len(self.requests), len(self.commands), state, images)
                )
            if self.requests and self.now_ns == self.due_ns:
                self.deliver()

    def feel(self, elapsed_ms: int) -> None:
        """Joint states; where the hand's come less often, in messages of their own, 25 ms late."""
        positions = self.positions()
        if self.hand_every_ms == 10:
            self.buffer.add_joint_state(self.now_ns, positions)
            return
        self.buffer.add_joint_state(self.now_ns, positions[:7], ARM)
        if elapsed_ms % self.hand_every_ms == 0:
            self.buffer.add_joint_state(self.now_ns - 25 * MS, positions[7:], HAND)

    def deliver(self) -> None:
        request = self.requests[-1]
        try:
            command = self.rollout.accept(request.serial, self.answer(request), self.now_ns)
        except MotionError as error:
            self.keep(self.rollout.refuse(request.serial, error, self.now_ns))
            return
        if command is not None:
            self.commands.append(command)
            self._send(command.plan.trajectory)

    def keep(self, stop: Trajectory | None) -> None:
        if stop is not None:
            self.stops.append(stop)
            self._send(stop)

    def _send(self, trajectory: Trajectory) -> None:
        self.sent.append(trajectory)
        self.executing = trajectory
