# SPDX-License-Identifier: Apache-2.0
"""The world action model: a diffusion transformer over latent video, actions and states.

Module names are the keys of the reference release's checkpoints. Facts of precision: sinusoids of timesteps
and rotary embeddings are float64 and cast afterwards, the sinusoid inside the action encoder is float32,
RMS norms compute in float32 and scale in the activation dtype, everything else runs in the dtype of the
weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from dreamzero_ros.engine.attention import attend_groups, teacher_forcing_groups
from dreamzero_ros.engine.attention_kernels import prefer
from dreamzero_ros.engine.block import Block, compiled_block, many_shapes, run_block
from dreamzero_ros.engine.cache import ALL_ROWS, ContextCache, KVCache, LayerContext
from dreamzero_ros.engine.config import PATCH, TransformerConfig
from dreamzero_ros.engine.layers import (
    ActionEncoder,
    CategoryMlp,
    ImageProjection,
    action_sinusoid,
    sinusoid,
)
from dreamzero_ros.engine.parallel import Group
from dreamzero_ros.engine.rope import call_rotation, token_rotation, video_rotation
from dreamzero_ros.engine.switches import EAGER, Switches
from dreamzero_ros.engine.times import Times, repeat, rows_of_spans, spans
from dreamzero_ros.engine.ulysses import share_tokens


class WorldActionTransformer(nn.Module):
    """Predicts the flow (noise minus clean) of a block of latent frames and of its actions.

    Tokens are ordered [video | actions | states]. `forward` sees earlier frames through a `KVCache`;
    `forward_training` sees a whole clip at once.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        # 1. tokens
        self.patch_embedding = nn.Conv3d(
            config.in_dim, dim, kernel_size=(1, PATCH, PATCH), stride=(1, PATCH, PATCH)
        )
        self.action_encoder = ActionEncoder(config)
        self.state_encoder = CategoryMlp(config.max_state_dim, config.hidden_size, dim)
        # 2. conditioning
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.img_emb = ImageProjection(config)
        # 3. blocks
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        # 4. heads
        self.head = Head(config)
        self.action_decoder = CategoryMlp(dim, config.hidden_size, config.action_dim)

    def forward(
        self,
        x: Tensor,
        times: Times,
        context: ContextCache,
        cache: KVCache,
        start_frame: int,
        y: Tensor | None = None,
        action: Tensor | None = None,
        state: Tensor | None = None,
        *,
        observed_frames: int = 0,
        isolate_state: bool = False,
        rows: slice = ALL_ROWS,
        switches: Switches = EAGER,
        sharers: Group | None = None,
        kernels: tuple[SDPBackend, ...] = (),
    ) -> tuple[Tensor, Tensor | None]:
        """Run one block of frames against the frames in the cache.

        The caller opens the call with `cache.begin(start_frame)` and keeps it, or not, with `cache.commit`.

        Args:
            x: Latents of the frames, (B, C, T, h, w).
            times: Timesteps of all tokens, by `times` or `shared_times`.
            context: Filled by `fill_text` and `fill_image`.
            cache: Earlier frames; receives the keys and values of this call.
            start_frame: Position of the first frame of x.
            y: Mask and first-image latents, (B, 4 + C, T, h, w); used where the configuration appends them.
            action: Noisy actions of the last block of x, (B, A, action_dim), or None for video alone.
            state: Normalised state, (B, num_state_per_block, max_state_dim).
            observed_frames: Frames at the beginning of x that are observed, in a call that dreams the others.
                They see nothing that is dreamed.
            isolate_state: Let states attend to themselves only, as in training, instead of to everything, as
                the reference release does.
            rows: Rows of the caches to which the batch belongs.
            switches: Speed-ups.
            sharers: Ranks that share the tokens of the call; the caches store the heads of this rank only.
            kernels: Of attention, those to be preferred first; none: as torch prefers them.

        Returns:
            Flow of the dreamed frames, (B, C, T - observed_frames, h, w), and of the actions, (B, A,
            action_dim), None without actions.
        """
        # 1. tokens
        tokens, (frames, height, width) = self._embed_video(x, y)
        num_actions = num_states = 0
        if action is not None:
            assert state is not None, "actions need the state of their block"
            assert times.actions is not None, "actions need their timesteps"
            num_actions, num_states = action.shape[1], state.shape[1]
            encoded = self.action_encoder(action, times.actions.expand(len(action), -1, -1))
            tokens = torch.cat([tokens, encoded, self.state_encoder(state)], dim=1)
        block = (start_frame + observed_frames - 1) // self.config.num_frame_per_block
        rotation = call_rotation(
            (start_frame, block * self.config.num_action_per_block, block * self.config.num_state_per_block),
            (frames, height, width),
            (num_actions, num_states),
            self.config.head_dim,
            x.device,
            switches.real_rotation or switches.compile,
        )

        # 2. blocks
        row = times.row
        share = share_tokens(sharers, tokens.shape[1]) if sharers else None
        if share:
            tokens, rotation = share.mine(tokens, 1), share.mine(rotation, 0)
            row = None if row is None else share.mine(row, 0)
        observed = observed_frames * height * width
        isolated = num_states if isolate_state else 0
        run = partial(compiled_block(), kernels) if switches.compile else run_block
        with prefer(kernels), many_shapes() if switches.compile else nullcontext():
            for layer, transformer_block in enumerate(self._blocks()):
                attend_cached = cache.attention(layer, rows, observed, isolated)
                tokens = run(
                    transformer_block,
                    tokens,
                    times.modulation,
                    row,
                    rotation,
                    share.attention(attend_cached) if share else attend_cached,
                    context.layer(layer, rows),
                )
        if share:
            tokens = share.gather(tokens)

        # 3. heads
        num_video = frames * height * width
        grid = (frames - observed_frames, height, width)
        video = self._unpatchify(self.head(tokens[:, observed:num_video], times.frames), grid)
        if action is None:
            return video, None
        return video, self.action_decoder(tokens[:, num_video : num_video + num_actions])

    def times(
        self,
        timestep: Tensor,
        tokens_per_frame: int,
        timestep_action: Tensor | None = None,
        states: int = 0,
    ) -> Times:
        """Embed a timestep per frame and per action; a state takes that of the first action of its block.

        Args:
            timestep: Timestep of every frame, (B, T).
            tokens_per_frame: Tokens of a latent frame.
            timestep_action: Timestep of every action, (B, A), or None for video alone.
            states: Number of states.
        """
        frames = timestep.shape[1]
        row = torch.arange(frames, device=timestep.device).repeat_interleave(tokens_per_frame)
        actions = None
        if timestep_action is not None:
            every = timestep_action.shape[1] // states
            timestep = torch.cat([timestep, timestep_action, timestep_action[:, ::every]], dim=1)
            row = torch.cat([row, torch.arange(frames, timestep.shape[1], device=row.device)])
            actions = action_sinusoid(timestep_action, self.config.dim).to(self._dtype)
        embedded, modulation = self._embed_times(timestep)
        return Times(embedded[:, :frames], modulation, row, actions)

    def shared_times(self, observed: int, dreamed: int, timestep: int, timestep_action: int) -> Times:
        """Embed the timesteps of a call in which frames share one and actions share one.

        Args:
            observed: Tokens of observed frames, which are at timestep 0.
            dreamed: Tokens of dreamed frames behind them; 0 for a call that only observes.
            timestep: Timestep of the dreamed frames.
            timestep_action: Timestep of the actions and the state.
        """
        config, device = self.config, self.head.modulation.device
        others = config.num_action_per_block + config.num_state_per_block if dreamed else 0
        timesteps, lengths = spans([(0, observed), (timestep, dreamed), (timestep_action, others)])
        embedded, modulation = self._embed_times(repeat(timesteps, [1] * len(timesteps), device)[None])
        asked = timesteps.index(timestep if dreamed else 0)
        action_times = torch.full((1, config.num_action_per_block), timestep_action, device=device)
        return Times(
            frames=embedded[:, asked : asked + 1],
            modulation=modulation,
            row=rows_of_spans(lengths, device),
            actions=action_sinusoid(action_times, config.dim).to(self._dtype) if dreamed else None,
        )

    def forward_training(
        self,
        x: Tensor,
        clean_x: Tensor,
        timestep: Tensor,
        text: Tensor,
        image: Tensor,
        y: Tensor | None,
        action: Tensor,
        timestep_action: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run a clip with teacher forcing: the noisy frames of a block see the clean frames before it.

        Args:
            x: Noisy latents, (B, C, T, h, w) with T = 1 + blocks * num_frame_per_block.
            clean_x: Clean latents of the same frames.
            timestep: Timestep of every noisy frame, (B, T).
            text: Text embeddings, (B, text_len, text_dim).
            image: Image tokens, (B, image_tokens, image_dim).
            y: Mask and first-image latents, (B, 4 + C, T, h, w); used where the configuration appends them.
            action: Noisy actions, (B, blocks * num_action_per_block, action_dim).
            timestep_action: Timestep of every action.
            state: Normalised states, (B, blocks * num_state_per_block, max_state_dim).

        Returns:
            Flow of the video, shaped as x, and of the actions, shaped as `action`.
        """
        config = self.config
        # 1. tokens
        clean, grid = self._embed_video(clean_x, y)
        noisy, _ = self._embed_video(x, y)
        frames, height, width = grid
        num_video = frames * height * width
        timesteps = torch.cat([torch.zeros_like(timestep), timestep], dim=1)
        times = self.times(timesteps, height * width, timestep_action, state.shape[1])
        encoded = self.action_encoder(action, times.actions)
        tokens = torch.cat([clean, noisy, encoded, self.state_encoder(state)], dim=1)
        of_video = video_rotation(0, *grid, config.head_dim, x.device)
        of_actions = token_rotation(0, action.shape[1], config.head_dim, x.device)
        of_states = token_rotation(0, state.shape[1], config.head_dim, x.device)
        rotation = torch.cat([of_video, of_video, of_actions, of_states])

        # 2. blocks
        groups = teacher_forcing_groups(
            frames,
            height * width,
            config.num_frame_per_block,
            config.num_action_per_block,
            config.num_state_per_block,
            config.window_frames,
        )

        def attend_teacher_forcing(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attend_groups(q, k, v, groups)

        text_rows, image_rows = self.text_embedding(text), self.img_emb(image)
        for block in self._blocks():
            cross = block.cross_attn
            context = LayerContext(cross.project_image(image_rows), cross.project_text(text_rows))
            tokens = block(tokens, times.modulation, times.row, rotation, attend_teacher_forcing, context)

        # 3. heads
        flow = self.head(tokens[:, num_video : 2 * num_video], times.frames[:, frames:])
        actions = tokens[:, 2 * num_video : 2 * num_video + action.shape[1]]
        return self._unpatchify(flow, grid), self.action_decoder(actions)

    def fill_text(self, context: ContextCache, text: Tensor, rows: slice = ALL_ROWS) -> None:
        """Compute the cross-attention keys and values of a text in all layers.

        Args:
            context: Receives them.
            text: Text embeddings, (B, text_len, text_dim); B may be 1 for all rows.
            rows: Rows of the cache.
        """
        embedded = self.text_embedding(text)
        for layer, block in enumerate(self._blocks()):
            context.text(layer, rows).copy_(block.cross_attn.project_text(embedded))

    def fill_image(self, context: ContextCache, image: Tensor) -> None:
        """Compute the cross-attention keys and values of image tokens in all layers.

        Args:
            context: Receives them.
            image: Image tokens, (B, image_tokens, image_dim), of every row of the cache or of every rollout.
        """
        embedded = self.img_emb(image)
        for layer, block in enumerate(self._blocks()):
            projected = block.cross_attn.project_image(embedded)
            rows = context.image(layer)
            rows.copy_(projected.repeat(1, rows.shape[1] // projected.shape[1], 1, 1, 1))

    def _blocks(self) -> Iterable[Block]:
        return cast("Iterable[Block]", self.blocks)

    def _embed_video(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, tuple[int, int, int]]:
        if self.config.concat_first_frame_latent:
            assert y is not None, "this model appends the first image to the latents: pass y"
            x = torch.cat([x, y], dim=1)
        patches = self.patch_embedding(x)  # (B, dim, T, h/2, w/2)
        frames, height, width = patches.shape[2:]
        return patches.flatten(2).transpose(1, 2), (frames, height, width)

    def _embed_times(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Embed timesteps (B, R): (B, R, dim) and (B, R, 6, dim)."""
        embedded = self.time_embedding(sinusoid(timesteps, self.config.freq_dim).to(self._dtype))
        return embedded, torch.unflatten(self.time_projection(embedded), -1, (6, -1))

    @property
    def _dtype(self) -> torch.dtype:
        return self.head.modulation.dtype

    def _unpatchify(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Order (B, T*h/2*w/2, 2*2*C), channel fastest, as latents (B, C, T, h, w)."""
        patches = torch.unflatten(
            torch.unflatten(x, 1, grid), -1, (PATCH, PATCH, -1)
        )  # (B, T, h/2, w/2, 2, 2, C)
        return patches.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


class Head(nn.Module):
    """Maps the video tokens of the last block to the flow of their patches."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / math.sqrt(config.dim))
        self.head = nn.Linear(config.dim, PATCH * PATCH * config.out_dim)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """Map tokens (B, L, dim) of frames with time embedding (B, T, dim) to patches (B, L, 2*2*C)."""
        shift, scale = (self.modulation.unsqueeze(1) + embedded.unsqueeze(2)).chunk(
            2, dim=2
        )  # (B, T, 1, dim)
        per_frame = torch.unflatten(self.norm(x), 1, (embedded.shape[1], -1))  # (B, T, L/T, dim)
        patches: Tensor = self.head((per_frame * (1 + scale) + shift).flatten(1, 2))
        return patches
