# SPDX-License-Identifier: Apache-2.0
"""The world action model as a policy: frame -> tensors -> session -> targets."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from dreamzero_ros.embodiment.frame import ActionChunk, Frame, make_example
from dreamzero_ros.embodiment.metadata import load_statistics, range_doubts
from dreamzero_ros.embodiment.normalize import (
    Statistics,
    decode_actions,
    normalise_state,
    stand_in_statistics,
)
from dreamzero_ros.embodiment.prompts import prompt
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.linear_format import formats_in_words
from dreamzero_ros.engine.lookahead import IMAGES_AHEAD
from dreamzero_ros.engine.running_session import OpenSession
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EXACT, Switches
from dreamzero_ros.engine.timing import StageTimer
from dreamzero_ros.policy.base import Foresight, Images, Policy
from dreamzero_ros.policy.canvas import canvas_of

TRIALS = 5
"""Times that the policy looks ahead for practice; the first takes long, and on a busy machine another may."""


class DreamZeroPolicy(Policy):
    """Runs one session of the world action model.

    Args:
        engine: The weights.
        embodiment: The robot.
        sampler: Settings of the denoising.
        speedups: What the engine does to be fast.
        open_session: Opens the session, which `close` closes.

    Raises:
        ValueError: The engine does not fit the robot: other horizon, unknown tag, fields that differ.
    """

    uses_history = True

    def __init__(
        self,
        engine: Engine,
        embodiment: Embodiment,
        sampler: SamplerConfig,
        speedups: Switches = EXACT,
        open_session: OpenSession = Session,
    ) -> None:
        self._engine = engine
        self._embodiment = embodiment
        self._statistics = statistics_for(engine, embodiment)
        self.doubts = (
            *engine.doubts,
            *training_doubts(engine, embodiment),
            *range_doubts(embodiment, self._statistics),
        )
        self._session = open_session(engine, sampler, switches=speedups)
        self.name = (
            f"dreamzero {engine.config.name} ({engine.source}), speed-ups: {self._session.speedups}"
            f"{_formats(engine)}"
        )
        self._dreamed: torch.Tensor | None = None

    def warm_up(self) -> float:
        """Runs a window of calls on random frames; returns the duration of the last one [s].

        Every shape of a call has been seen after it, with images encoded ahead and without, and `foresight`
        is known.
        """
        rng = np.random.default_rng(0)
        seconds = 0.0
        last = self._engine.config.transformer.max_chunk_size - 1
        for call in range(last + 1):
            images = 1 if call == 0 else len(self._embodiment.image_offsets_steps)
            frame = make_example(self._embodiment, rng, images)
            if call == 1 < last and images == self._engine.config.vae.temporal_factor:
                self._rehearse(frame)
            begin = time.perf_counter()
            self.infer(frame)
            seconds = time.perf_counter() - begin
        self.reset()
        return seconds

    def reset(self) -> None:
        """Forgets the window; the next frame has one image per camera."""
        self._session.reset()
        self._dreamed = None

    @torch.no_grad()
    def infer(self, frame: Frame) -> ActionChunk:
        """Observes the frame, replaces what was dreamed by it, and denoises the next chunk.

        Raises:
            ValueError: The frame does not fit; says how.
        """
        begin = time.perf_counter()
        canvas, state, text = self.prepare(frame)
        prepared = time.perf_counter()
        result = self._session.step(canvas[None], state[None], text)
        dreamed = self._engine.config.transformer.num_frame_per_block
        self._dreamed = torch.cat([result.observed, result.video[:, :, -dreamed:]], dim=2)
        targets = decode_actions(
            self._embodiment, self._statistics, result.actions[0].cpu().numpy(), frame.positions
        )
        return ActionChunk(
            stamp_ns=frame.stamp_ns,
            dt_s=self._embodiment.dt_s,
            joints=self._embodiment.command_joints,
            targets=targets,
            latency_s={"prepare": prepared - begin, **result.latency_s},
            context_frames=result.context_frames,
            computed_steps=sum(result.computed),
            canvas=canvas.cpu().numpy(),
        )

    def prepare(self, frame: Frame) -> tuple[torch.Tensor, torch.Tensor, str]:
        """What the session is given: canvases (T, H, W, 3) uint8, state (1, max_state_dim), prompt."""
        config = self._engine.config
        size = config.transformer.max_state_dim
        state = normalise_state(self._embodiment, self._statistics, frame.positions, size)
        text = prompt(self._embodiment.tag, frame.instruction)
        return self._canvas(frame.images), torch.from_numpy(state).float(), text

    def look_ahead(self, images: Images) -> None:
        """Encodes the images, unless the next call begins a window."""
        self._session.look_ahead(self._canvas(images)[None])

    def imagined(self) -> NDArray[np.uint8] | None:
        """(T, H, W, 3) RGB: the images dreamed for the time of the last chunk, equally spaced.

        They are decoded behind the newest observed latent, which the autoencoder takes for a first frame.
        """
        if self._dreamed is None:
            return None
        video: NDArray[np.uint8] = self._session.decode(self._dreamed)[0, 1:].cpu().numpy()
        return video

    def close(self) -> None:
        """Closes the session."""
        self._session.close()

    def _rehearse(self, frame: Frame) -> None:
        """Looks ahead to a frame, some times, and learns how long that takes."""
        first = {name: images[:IMAGES_AHEAD] for name, images in frame.images.items()}
        trials_s = []
        for _ in range(TRIALS):
            timer = StageTimer(self._engine.device)
            with timer.stage("ahead"):
                self.look_ahead(first)
            trials_s.append(timer.seconds()["ahead"])
        self.foresight = Foresight(IMAGES_AHEAD, median(trials_s))

    def _canvas(self, images: Images) -> torch.Tensor:
        view = self._engine.config.view_height, self._engine.config.view_width
        return canvas_of(self._embodiment, images, view, self._engine.device)


def _formats(engine: Engine) -> str:
    if engine.linear_format == "native":
        return ""
    return f", linear layers {engine.linear_format}: {formats_in_words(engine.transformer)}"


def training_doubts(engine: Engine, embodiment: Embodiment) -> list[str]:
    """What is to be said where a checkpoint was not trained for a robot, as its statistics tell."""
    if not engine.trained or embodiment.tag in (engine.metadata or {}):
        return []
    return [
        f"{engine.source} has no statistics of {embodiment.tag!r}, so nothing says that it was trained for "
        f"this robot. A base for post-training, such as GEAR-Dreams/DreamZero-AgiBot, has none: it is to be "
        f"trained on data of the robot first"
    ]


def statistics_for(engine: Engine, embodiment: Embodiment) -> Statistics:
    """The statistics with which an engine serves a robot.

    Raises:
        ValueError: The engine does not fit the robot: other horizon, fields that differ.
        CheckpointError: It has no statistics for the tag of the robot.
    """
    horizon = engine.config.transformer.num_action_per_block
    if embodiment.horizon != horizon:
        raise ValueError(
            f"robot {embodiment.name!r} expects chunks of {embodiment.horizon} targets, "
            f"{engine.source} gives {horizon}; set horizon: {horizon} in the robot file"
        )
    if embodiment.statistics is not None:
        return load_statistics(embodiment, embodiment.statistics)
    if engine.metadata is None and not engine.trained:
        return stand_in_statistics(embodiment)
    return load_statistics(embodiment, {embodiment.tag: engine.require_tag(embodiment.tag)})
