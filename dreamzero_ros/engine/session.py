# SPDX-License-Identifier: Apache-2.0
"""One rollout of the world action model: observed images in, actions and dreamed video out.

A session remembers the observed frames of the current window in key/value caches. Every step first writes
what was observed since the last step into them, in place of what had been dreamed for that time, then
denoises the next block of video and actions against them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamzero_ros.engine.config import MASK_CHANNELS, ModelConfig, SamplerConfig
from dreamzero_ros.engine.graphs import Recorder
from dreamzero_ros.engine.guidance import NEGATIVE, PROMPT, Branches
from dreamzero_ros.engine.lookahead import LookAhead
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.parallel import Ranks
from dreamzero_ros.engine.pixels import from_unit_range, resize_video, stretch_images, to_unit_range
from dreamzero_ros.engine.schedule import UniPC, decouple, flow_schedule
from dreamzero_ros.engine.stepcache import StepPlan, step_plan
from dreamzero_ros.engine.switches import EAGER, Switches, in_words
from dreamzero_ros.engine.timing import StageTimer
from dreamzero_ros.engine.vae import VideoStream

NEWEST_IS_CONTEXT = (4, 9)
"""Numbers of images of which a new window begins with the newest; of other numbers it takes the oldest."""


class SessionEngine(Protocol):
    """What a session needs of an engine; images are (B, 3, ...) in [-1, 1]."""

    @property
    def config(self) -> ModelConfig:
        """Sizes of the model."""

    @property
    def transformer(self) -> WorldActionTransformer:
        """The transformer."""

    @property
    def device(self) -> torch.device:
        """Where the model lies."""

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the model's activations."""

    def tokenize(self, text: str) -> tuple[Tensor, Tensor]:
        """Turn a text into token ids (1, L) int64, 0 for padding, and their mask (1, L)."""

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode token ids (B, L) to (B, L, text_dim), rows of padding zero."""

    def encode_image(self, image: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) to image tokens (B, image_tokens, image_dim)."""

    def encode_video(self, video: Tensor) -> Tensor:
        """Encode images (B, 3, T, H, W) to latents (B, C, 1 + (T - 1) // 4, h, w)."""

    def stream_video(self) -> VideoStream:
        """Begin a video that is encoded as its images arrive."""

    def decode_video(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, T, h, w) to images (B, 3, 1 + 4 * (T - 1), H, W)."""


@dataclass(frozen=True)
class Noise:
    """Initial noise of a chunk."""

    video: Tensor
    """(B, C, num_frame_per_block, h, w)."""
    action: Tensor
    """(B, num_action_per_block, action_dim)."""


@dataclass(frozen=True)
class SolverStep:
    """State of the denoising after one solver step."""

    index: int
    computed: bool
    """Whether the transformer ran."""
    video: Tensor
    """Video sample, (B, C, T, h, w) float32."""
    action: Tensor
    """Action sample, (B, A, action_dim) float32."""


@dataclass(frozen=True)
class StepResult:
    """Answer to one observation."""

    actions: Tensor
    """Normalised actions, (B, A, action_dim) float32, not clipped."""
    video: Tensor
    """Dreamed latents, (B, C, T, h, w) float32; the first observed frame stands in front after a reset."""
    observed: Tensor
    """Newest observed latent, (B, C, 1, h, w) float32; what was dreamed follows it in time."""
    computed: tuple[bool, ...]
    """Solver steps that ran the transformer."""
    similarities: tuple[float, ...]
    """Cosine similarities by which the dynamic rule decided."""
    reset: bool
    """Whether the step began a new window."""
    start_frame: int
    """Position of the first dreamed frame in the window."""
    context_frames: int
    """Latent frames in the cache after the step."""
    latency_s: Mapping[str, float]
    """Time by stage [s]: text, image, video_encode, prefill, denoise; a fused prefill belongs to denoise, and
    where the first images had been encoded ahead there is video_rest in place of video_encode."""


def guidance_scale(sampler: SamplerConfig, switches: Switches) -> float:
    """Return the weight of guidance in a session; at 1 it has no negative branch."""
    one_step = step_plan(sampler).is_last(0)
    return 1.0 if one_step and switches.trim_guidance else sampler.guidance_scale


class Session:
    """State of one rollout; the weights belong to the engine and are not changed.

    The caches are allocated here and keep their addresses, also through `reset`. Sessions of one engine are
    independent of one another. After an error inside `step`, call `reset`.

    Where ranks share a session, each has one of its own, and all call the same methods with the same
    arguments; `SharedSession` and `serve` see to that. After an error inside `step` they are lost.

    Args:
        engine: Model and encoders.
        sampler: Settings of the denoising.
        batch: Number of rollouts B that advance together.
        noise: Initial noise of every chunk; by default drawn from `sampler.seed`, the same for every chunk.
        switches: Speed-ups.
        ranks: Processes that share the work; None: this one computes alone.
        recorder: Records passes of the transformer for the switch `graphs`; by default as CUDA graphs.

    Raises:
        ValueError: If the sampler's settings do not fit together, the ranks cannot share the work, or the
            device or ranks cannot do what a switch asks for.
    """

    @torch.no_grad()
    def __init__(
        self,
        engine: SessionEngine,
        sampler: SamplerConfig,
        batch: int = 1,
        noise: Noise | None = None,
        switches: Switches = EAGER,
        ranks: Ranks | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.batch = batch
        self._engine = engine
        self._sampler = sampler
        self._switches = switches
        self._action_schedule = self._video_schedule = flow_schedule(sampler.num_steps, sampler.sigma_shift)
        if sampler.video_final_noise is not None:
            self._video_schedule = decouple(self._action_schedule, sampler.video_final_noise)
        self._noise = noise or self._draw_noise()

        config = engine.config
        self._branches = Branches(
            engine.transformer,
            config,
            batch,
            guidance_scale(sampler, switches),
            switches,
            engine.device,
            engine.dtype,
            ranks,
            recorder,
        )
        if self._branches.computes(NEGATIVE):
            ids, mask = engine.tokenize(sampler.negative_prompt)
            self._branches.read(engine.encode_text(ids, mask), mask, NEGATIVE)
        self._prompt: str | None = None
        self._prompt_ids: Tensor | None = None
        shape = (batch, MASK_CHANNELS + config.vae.z_dim, config.horizon_frames, *config.latent_size)
        self._conditioning = torch.zeros(shape, device=engine.device, dtype=engine.dtype)
        self._conditioning[:, :MASK_CHANNELS, 0] = 1
        self._next_frame = 0
        self._ahead: LookAhead | None = None

    @property
    def next_frame(self) -> int:
        """Position in the window at which the next step dreams; 0 when it begins a new window."""
        return self._next_frame

    @property
    def context_frames(self) -> int:
        """Latent frames in the cache."""
        return self._branches.cache.frames

    @property
    def speedups(self) -> str:
        """Names of the speed-ups that are on, and what was measured for them, for people."""
        kernels = self._branches.kernels
        return in_words(self._switches) + (f"; attention: {kernels.in_words()}" if kernels else "")

    def reset(self) -> None:
        """Forget the window; the next step begins a new one."""
        self._next_frame = 0
        self._ahead = None
        self._branches.cache.reset()

    @torch.no_grad()
    def step(
        self,
        images: Tensor,
        state: Tensor,
        prompt: str | Tensor,
        latents: Tensor | None = None,
        on_step: Callable[[SolverStep], None] | None = None,
    ) -> StepResult:
        """Observe, then dream the next block and its actions.

        A new window begins with the first step, after `reset`, when the tokens of the prompt change, when a
        single image is given, and when the window is full.

        Args:
            images: Canvases, oldest first, (B, T, H, W, 3) uint8: one to begin a window, then four per step.
            state: Normalised and padded state, (B, num_state_per_block, max_state_dim).
            prompt: Text for all rollouts, or token ids (B, L) int64 with 0 for padding.
            latents: What was observed, ready encoded, in place of `images`, (B, C, num_frame_per_block, h,
                w); not used where a new window begins.
            on_step: Told the samples after every solver step.

        Raises:
            ValueError: If the shape or dtype of an input, or the number of images, is wrong.
        """
        self.check(images, state)
        # Uploaded before work is queued, for which the copy would wait.
        state = state.to(self._engine.device, self._engine.dtype)
        timer = StageTimer(self._engine.device)
        with timer.stage("text"):
            changed = self._read(prompt)
        begins = self._at_start or changed or images.shape[1] == 1
        if begins:
            with timer.stage("image"):
                observed = self._begin_window(images)
        elif latents is None:
            observed = self._encode(images, timer)
        else:
            observed = latents.to(self._engine.device, self._engine.dtype)
        first = max(0, self._next_frame - self._engine.config.transformer.num_frame_per_block)
        news = observed[:, :, -self._branches.cache.frames_from(first) :]
        start = first + news.shape[2]
        if not self._switches.fuse_observation:
            with timer.stage("prefill"):
                self._branches.observe(first, news, self._condition(first, news.shape[2]))
        unseen = news if self._switches.fuse_observation else None
        with timer.stage("denoise"):
            plan = step_plan(self._sampler)
            video, action, computed = self._denoise(start, state, plan, on_step, unseen)
        self._next_frame = start + self._engine.config.transformer.num_frame_per_block
        return StepResult(
            actions=action,
            video=torch.cat([observed.float(), video], dim=2) if begins else video,
            observed=observed[:, :, -1:].float(),
            computed=computed,
            similarities=tuple(plan.similarities),
            reset=begins,
            start_frame=start,
            context_frames=self.context_frames,
            latency_s=timer.seconds(),
        )

    @torch.no_grad()
    def look_ahead(self, images: Tensor) -> None:
        """Encode the first images of the next step as soon as they are there.

        Whatever the next step is given stays right: where its images begin otherwise, all are encoded then.
        Where it will begin a new window nothing is done.

        Args:
            images: Canvases, oldest first, (B, T, H, W, 3) uint8, fewer than a step has.

        Raises:
            ValueError: If there are more images than a step that continues a window has.
        """
        config = self._engine.config
        most = config.vae.temporal_factor
        if images.shape[1] >= most:
            raise ValueError(f"images: expected 1 to {most - 1} to look ahead, got {images.shape[1]}")
        if self._at_start:
            return
        self._ahead = LookAhead(
            self._engine.stream_video(),
            self._to_video,
            config.transformer.num_frame_per_block,
            most,
            images,
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode dreamed latents (B, C, T, h, w) of one step, or of several joined in time.

        Returns:
            Images, (B, 1 + 4 * (T - 1), H, W, 3) uint8, of the size that the model sees.
        """
        return from_unit_range(self._engine.decode_video(latents.to(self._engine.device, self._engine.dtype)))

    def close(self) -> None:
        """Do nothing: memory is freed with the session, and no other process computes along."""

    def check(self, images: Tensor, state: Tensor) -> None:
        """Refuse images and state that `step` cannot take.

        Raises:
            ValueError: If a shape or dtype is wrong.
        """
        config = self._engine.config
        canvas = (self.batch, images.shape[1], config.canvas_height, config.canvas_width, 3)
        if images.dtype != torch.uint8 or images.shape != canvas:
            raise ValueError(
                f"images: expected uint8 (B, T, H, W, 3) {canvas}, got {images.dtype} {tuple(images.shape)};"
                " fit the views and stitch them to a canvas first"
            )
        states = (self.batch, config.transformer.num_state_per_block, config.transformer.max_state_dim)
        if state.shape != states:
            raise ValueError(
                f"state: expected {states}, got {tuple(state.shape)}; normalise and pad it first"
            )

    @property
    def _at_start(self) -> bool:
        """Whether the next step begins a window whatever it is given."""
        return not 0 < self._next_frame < self._engine.config.transformer.window_frames

    def _draw_noise(self) -> Noise:
        """Draw each tensor from its own generator with the same seed, as the reference release does."""
        engine, config = self._engine, self._engine.config
        transformer = config.transformer
        video = (self.batch, config.vae.z_dim, transformer.num_frame_per_block, *config.latent_size)
        action = (self.batch, transformer.num_action_per_block, transformer.action_dim)

        def draw(shape: tuple[int, ...]) -> Tensor:
            generator = torch.Generator(engine.device).manual_seed(self._sampler.seed)
            return torch.randn(shape, generator=generator, device=engine.device, dtype=engine.dtype)

        return Noise(draw(video), draw(action))

    def _read(self, prompt: str | Tensor) -> bool:
        """Take in the prompt where its tokens are new; returns whether they are."""
        if isinstance(prompt, str):
            if prompt == self._prompt:
                return False
            ids, mask = self._engine.tokenize(prompt)
        else:
            ids = prompt.to(self._engine.device)
            mask = ids != 0
        changed = self._prompt_ids is None or not torch.equal(self._prompt_ids, ids)
        if changed:
            if self._branches.computes(PROMPT):
                self._branches.read(self._engine.encode_text(ids, mask), mask, PROMPT)
            self._prompt_ids = ids
        self._prompt = prompt if isinstance(prompt, str) else None
        return changed

    def _to_video(self, images: Tensor) -> Tensor:
        """Bring canvases (B, T, H, W, 3) to the size and range of the model, (B, 3, T, h, w)."""
        config = self._engine.config
        video = to_unit_range(images.to(self._engine.device), self._engine.dtype)
        if (config.model_height, config.model_width) == (config.canvas_height, config.canvas_width):
            return video
        return resize_video(video, config.model_height, config.model_width)

    def _stretched(self, images: Tensor) -> Tensor:
        config = self._engine.config
        return stretch_images(images, config.transformer.num_frame_per_block, config.vae.temporal_factor)

    def _encode(self, images: Tensor, timer: StageTimer) -> Tensor:
        """Encode the images of a call, of which the first may have been encoded ahead."""
        stretched = self._stretched(images)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.begins(images):
            with timer.stage("video_rest"):
                return ahead.finish(images)
        with timer.stage("video_encode"):
            return self._engine.encode_video(self._to_video(stretched))

    def _begin_window(self, images: Tensor) -> Tensor:
        """Empty the caches, take in the first image of a window and return its latent (B, C, 1, h, w)."""
        engine, config = self._engine, self._engine.config
        first = images[:, -1:] if images.shape[1] in NEWEST_IS_CONTEXT else images[:, :1]
        video = self._to_video(first)
        blank = config.num_frames - 1 if config.transformer.concat_first_frame_latent else 0
        clip = F.pad(video, (0, 0, 0, 0, 0, blank))
        with torch.autocast(engine.device.type, torch.bfloat16, enabled=engine.dtype == torch.bfloat16):
            image_tokens = engine.encode_image(video[:, :, 0])
            latents = engine.encode_video(clip)
        self._conditioning[:, MASK_CHANNELS:, : latents.shape[2]] = latents
        self.reset()
        self._branches.look(image_tokens.to(engine.dtype))
        return latents[:, :, :1].to(engine.dtype)

    def _denoise(
        self,
        start: int,
        state: Tensor,
        plan: StepPlan,
        on_step: Callable[[SolverStep], None] | None,
        observed: Tensor | None,
    ) -> tuple[Tensor, Tensor, tuple[bool, ...]]:
        """Denoise the block at `start`; returns video, actions and which steps ran the transformer.

        Args:
            start: Position of the first frame of the block.
            state: Normalised state, on the device.
            plan: Which steps run the transformer; the first does.
            on_step: Told every step.
            observed: Latents of the frames before the block that the cache does not have yet.
        """
        video, action = self._noise.video.float(), self._noise.action.float()
        video_solver, action_solver = UniPC(self._video_schedule), UniPC(self._action_schedule)
        flows: list[tuple[Tensor, Tensor]] = []  # of video and actions, oldest first, at most two
        computed = []
        for index in range(self._sampler.num_steps):
            computed.append(plan.computes(index, [flow for flow, _ in flows]))
            if computed[-1]:
                guided = not (self._switches.trim_guidance and plan.is_last(index))
                flow = self._flows(index, start, video, action, state, guided, observed)
                flows = [*flows[-1:], flow]
                observed = None
            video_flow, action_flow = flows[-1]
            video = video_solver.step(index, video, video_flow)
            action = action_solver.step(index, action, action_flow)
            if on_step is not None:
                on_step(SolverStep(index, computed[-1], video, action))
        return video, action, tuple(computed)

    def _flows(
        self,
        index: int,
        start: int,
        video: Tensor,
        action: Tensor,
        state: Tensor,
        guided: bool,
        observed: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        dtype = self._engine.dtype
        first = start if observed is None else start - observed.shape[2]
        return self._branches.flows(
            first,
            video.to(dtype),
            self._condition(first, start - first + video.shape[2]),
            action.to(dtype),
            state,
            (self._video_schedule.timesteps[index], self._action_schedule.timesteps[index]),
            guided=guided,
            observed=observed,
        )

    def _condition(self, first: int, count: int) -> Tensor:
        """Image conditioning of the frames from `first` on; beyond its end that of the last frames."""
        end = min(first + count, self._conditioning.shape[2])
        return self._conditioning[:, :, end - count : end]
