# SPDX-License-Identifier: Apache-2.0
"""The world action model: a diffusion transformer over latent video, actions and states.

Module names are the keys of the reference release's checkpoints. Facts of precision: sinusoids of timesteps
and rotary embeddings are float64 and cast afterwards, the sinusoid inside the action encoder is float32,
RMS norms compute in float32 and scale in the activation dtype, everything else runs in the dtype of the
weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamzero_ros.engine.attention import attend, attend_groups, teacher_forcing_groups
from dreamzero_ros.engine.cache import ContextCache, KVCache
from dreamzero_ros.engine.config import PATCH, TransformerConfig
from dreamzero_ros.engine.rope import rotate, token_rotation, video_rotation

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps the queries, keys and values of a sequence (B, L, N, D) to its attended values (B, L, N, D)."""

IMAGE_PROJECTION_EPS = 1e-5
LONGEST_PERIOD = 10000.0


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
        timestep: Tensor,
        context: ContextCache,
        cache: KVCache,
        start_frame: int,
        y: Tensor | None = None,
        action: Tensor | None = None,
        timestep_action: Tensor | None = None,
        state: Tensor | None = None,
        isolate_state: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Run one block of frames against the frames in the cache.

        The caller opens the call with `cache.begin(start_frame)` and keeps it, or not, with `cache.commit`.

        Args:
            x: Latents of the block, (B, C, T, h, w).
            timestep: Timestep of every frame, (B, T).
            context: Filled by `fill_context`.
            cache: Earlier frames; receives the keys and values of this call.
            start_frame: Position of the first frame of x.
            y: Mask and first-image latents, (B, 4 + C, T, h, w); used where the configuration appends them.
            action: Noisy actions, (B, A, action_dim), or None for a pass over video only.
            timestep_action: Timestep of every action, (B, A).
            state: Normalised state, (B, num_state_per_block, max_state_dim).
            isolate_state: Let states attend to themselves only, as in training, instead of to everything, as
                the reference release does.

        Returns:
            Flow of the video, (B, C, T, h, w), and of the actions, (B, A, action_dim), None without actions.
        """
        # 1. tokens
        tokens, grid = self._embed_video(x, y)
        rotations = [self._video_rotation(start_frame, grid, x.device)]
        timesteps = timestep
        num_actions = num_states = 0
        if action is not None:
            assert timestep_action is not None, "actions need their timesteps"
            assert state is not None, "actions need the state of their block"
            num_actions, num_states = action.shape[1], state.shape[1]
            block = (start_frame - 1) // self.config.num_frame_per_block
            tokens, timesteps = self._append(tokens, timestep, action, timestep_action, state)
            rotations += self._action_rotations(block, num_actions, num_states, x.device)
        rotation = torch.cat(rotations)

        # 2. conditioning
        embedded, modulation = self._embed_time(timesteps, x.dtype)
        row = self._row_of_token(timestep.shape[1], grid, num_actions + num_states, x.device)

        # 3. blocks
        for layer, transformer_block in enumerate(self._blocks()):

            def attend_cached(q: Tensor, k: Tensor, v: Tensor, layer: int = layer) -> Tensor:
                keys, values = cache.write(layer, k, v)
                if not (isolate_state and num_states):
                    return attend(q, keys, values)
                own = slice(-num_states, None)
                rest = attend(q[:, :-num_states], keys, values)
                return torch.cat([rest, attend(q[:, own], k[:, own], v[:, own])], dim=1)

            tokens = transformer_block(
                tokens, modulation, row, rotation, attend_cached, context.storage[layer]
            )

        # 4. heads
        frames, height, width = grid
        num_video = frames * height * width
        video = self._unpatchify(self.head(tokens[:, :num_video], embedded[:, :frames]), grid)
        if action is None:
            return video, None
        return video, self.action_decoder(tokens[:, num_video : num_video + num_actions])

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
        tokens, timesteps = self._append(
            torch.cat([clean, noisy], dim=1), timesteps, action, timestep_action, state
        )
        video_rotations = [self._video_rotation(0, grid, x.device)] * 2
        rotation = torch.cat(
            video_rotations + self._action_rotations(0, action.shape[1], state.shape[1], x.device)
        )

        # 2. conditioning
        embedded, modulation = self._embed_time(timesteps, x.dtype)
        row = self._row_of_token(2 * frames, grid, action.shape[1] + state.shape[1], x.device)
        context = self.embed_context(text, image)

        # 3. blocks
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

        for block in self._blocks():
            projected = block.cross_attn.project_context(context)
            tokens = block(tokens, modulation, row, rotation, attend_teacher_forcing, projected)

        # 4. heads
        flow = self.head(tokens[:, num_video : 2 * num_video], embedded[:, frames : 2 * frames])
        actions = tokens[:, 2 * num_video : 2 * num_video + action.shape[1]]
        return self._unpatchify(flow, grid), self.action_decoder(actions)

    def embed_context(self, text: Tensor, image: Tensor) -> Tensor:
        """Return the rows of cross attention, (B, image_tokens + text_len, dim): image tokens, then text."""
        return torch.cat([self.img_emb(image), self.text_embedding(text)], dim=1)

    def fill_context(self, context: ContextCache, text: Tensor, image: Tensor) -> None:
        """Compute the cross-attention keys and values of text and image tokens for all layers."""
        rows = self.embed_context(text, image)
        for layer, block in enumerate(self._blocks()):
            context.storage[layer].copy_(block.cross_attn.project_context(rows))

    def _blocks(self) -> Iterable[Block]:
        return cast("Iterable[Block]", self.blocks)

    def _embed_video(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, tuple[int, int, int]]:
        if self.config.concat_first_frame_latent:
            assert y is not None, "this model appends the first image to the latents: pass y"
            x = torch.cat([x, y], dim=1)
        patches = self.patch_embedding(x)  # (B, dim, T, h/2, w/2)
        frames, height, width = patches.shape[2:]
        return patches.flatten(2).transpose(1, 2), (frames, height, width)

    def _append(
        self, tokens: Tensor, timestep: Tensor, action: Tensor, timestep_action: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Append action and state tokens; a state takes the timestep of the first action of its block."""
        encoded = self.action_encoder(action, timestep_action)
        every = action.shape[1] // state.shape[1]
        timesteps = torch.cat([timestep, timestep_action, timestep_action[:, ::every]], dim=1)
        return torch.cat([tokens, encoded, self.state_encoder(state)], dim=1), timesteps

    def _embed_time(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Embed timesteps (B, R), one per frame, action and state: (B, R, dim) and (B, R, 6, dim)."""
        embedded = self.time_embedding(sinusoid(timesteps, self.config.freq_dim).to(dtype))
        return embedded, torch.unflatten(self.time_projection(embedded), -1, (6, -1))

    def _row_of_token(
        self, frames: int, grid: tuple[int, int, int], others: int, device: torch.device
    ) -> Tensor:
        """Index of the timestep of every token, (L,): all tokens of a frame share one."""
        of_video = torch.arange(frames, device=device).repeat_interleave(grid[1] * grid[2])
        return torch.cat([of_video, torch.arange(frames, frames + others, device=device)])

    def _video_rotation(self, start_frame: int, grid: tuple[int, int, int], device: torch.device) -> Tensor:
        return video_rotation(start_frame, *grid, self.config.head_dim, device)

    def _action_rotations(self, block: int, actions: int, states: int, device: torch.device) -> list[Tensor]:
        head_dim = self.config.head_dim
        return [
            token_rotation(block * self.config.num_action_per_block, actions, head_dim, device),
            token_rotation(block * self.config.num_state_per_block, states, head_dim, device),
        ]

    def _unpatchify(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Order (B, T*h/2*w/2, 2*2*C), channel fastest, as latents (B, C, T, h, w)."""
        patches = torch.unflatten(
            torch.unflatten(x, 1, grid), -1, (PATCH, PATCH, -1)
        )  # (B, T, h/2, w/2, 2, 2, C)
        return patches.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


class Block(nn.Module):
    """Self attention, cross attention and feed-forward, modulated per token by its timestep."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / math.sqrt(dim))
        # 1. self attention
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(dim, config.num_heads, eps)
        # 2. cross attention
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = CrossAttention(dim, config.num_heads, eps, config.image_tokens)
        # 3. feed-forward
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        row: Tensor,
        rotation: Tensor,
        attend_self: Attend,
        context: Tensor,
    ) -> Tensor:
        """Transform tokens.

        Args:
            x: Tokens, (B, L, dim).
            modulation: Projected timesteps, (B, R, 6, dim).
            row: Timestep of every token, (L,) in 0..R-1.
            rotation: Rotary embedding of every token, (L, D/2) complex.
            attend_self: Self attention of the sequence.
            context: Cross-attention keys and values, (2, B, rows, N, D).
        """
        per_token = (self.modulation.unsqueeze(1) + modulation)[:, row]  # (B, L, 6, dim)
        shift1, scale1, gate1, shift2, scale2, gate2 = per_token.unbind(dim=2)
        # 1. self attention
        x = x + gate1 * self.self_attn(self.norm1(x) * (1 + scale1) + shift1, rotation, attend_self)
        # 2. cross attention
        x = x + self.cross_attn(self.norm3(x), context)
        # 3. feed-forward
        mixed: Tensor = x + gate2 * self.ffn(self.norm2(x) * (1 + scale2) + shift2)
        return mixed


class SelfAttention(nn.Module):
    """Multi-head attention with RMS-normalised, rotated queries and keys."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RmsNorm(dim, eps)
        self.norm_k = RmsNorm(dim, eps)

    def forward(self, x: Tensor, rotation: Tensor, attend_self: Attend) -> Tensor:
        """Mix tokens (B, L, dim)."""
        heads = (self.num_heads, -1)
        q = rotate(torch.unflatten(self.norm_q(self.q(x)), -1, heads), rotation)  # (B, L, N, D)
        k = rotate(torch.unflatten(self.norm_k(self.k(x)), -1, heads), rotation)
        v = torch.unflatten(self.v(x), -1, heads)
        mixed: Tensor = self.o(attend_self(q, k, v).flatten(2))
        return mixed


class CrossAttention(nn.Module):
    """Attention to image tokens and to text, each with its own softmax, summed."""

    def __init__(self, dim: int, num_heads: int, eps: float, image_tokens: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.image_tokens = image_tokens
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RmsNorm(dim, eps)
        self.norm_k = RmsNorm(dim, eps)
        self.k_img = nn.Linear(dim, dim)
        self.v_img = nn.Linear(dim, dim)
        self.norm_k_img = RmsNorm(dim, eps)

    def project_context(self, context: Tensor) -> Tensor:
        """Return keys and values (2, B, rows, N, D) of context rows (B, rows, dim), image tokens first."""
        image, text = context.tensor_split([self.image_tokens], dim=1)
        keys = torch.cat([self.norm_k_img(self.k_img(image)), self.norm_k(self.k(text))], dim=1)
        values = torch.cat([self.v_img(image), self.v(text)], dim=1)
        return torch.unflatten(torch.stack([keys, values]), -1, (self.num_heads, -1))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Let tokens (B, L, dim) attend to projected context (2, B, rows, N, D)."""
        q = torch.unflatten(self.norm_q(self.q(x)), -1, (self.num_heads, -1))  # (B, L, N, D)
        image, text = context.tensor_split([self.image_tokens], dim=2)
        seen: Tensor = self.o((attend(q, *text) + attend(q, *image)).flatten(2))
        return seen


class RmsNorm(nn.Module):
    """RMS norm over the last dimension: float32 inside, scaled in the dtype of the input."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x."""
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale).to(x.dtype) * self.weight


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


class ImageProjection(nn.Module):
    """Projects image tokens to the width of the transformer."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.image_dim
        self.proj = nn.Sequential(
            nn.LayerNorm(width, IMAGE_PROJECTION_EPS),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, config.dim),
            nn.LayerNorm(config.dim, IMAGE_PROJECTION_EPS),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map image tokens (B, image_tokens, image_dim) to (B, image_tokens, dim)."""
        projected: Tensor = self.proj(image)
        return projected


class CategoryLinear(nn.Module):
    """Linear layer stored as a table of matrices (1, in, out): the checkpoints hold one category."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.W = nn.Parameter(0.02 * torch.randn(1, in_dim, out_dim))
        self.b = nn.Parameter(torch.zeros(1, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out)."""
        return x @ self.W[0] + self.b[0]


class CategoryMlp(nn.Module):
    """Two category layers with a ReLU between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.layer1 = CategoryLinear(in_dim, hidden_dim)
        self.layer2 = CategoryLinear(hidden_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out)."""
        mapped: Tensor = self.layer2(F.relu(self.layer1(x)))
        return mapped


class ActionEncoder(nn.Module):
    """Embeds noisy actions together with their timesteps."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.W1 = CategoryLinear(config.action_dim, config.dim)
        self.W2 = CategoryLinear(2 * config.dim, config.dim)
        self.W3 = CategoryLinear(config.dim, config.dim)

    def forward(self, action: Tensor, timestep: Tensor) -> Tensor:
        """Map actions (B, A, action_dim) at timesteps (B, A) to tokens (B, A, dim)."""
        embedded = self.W1(action)
        time = action_sinusoid(timestep, self.dim).to(embedded.dtype)
        tokens: Tensor = self.W3(F.silu(self.W2(torch.cat([embedded, time], dim=-1))))
        return tokens


def sinusoid(timestep: Tensor, dim: int) -> Tensor:
    """Return cosines, then sines, of timesteps (...) at dim/2 frequencies: (..., dim) float64."""
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float64, device=timestep.device) / half
    angles = timestep.double().unsqueeze(-1) * LONGEST_PERIOD**-exponents
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def action_sinusoid(timestep: Tensor, dim: int) -> Tensor:
    """Return sines, then cosines, of timesteps (...) at dim/2 frequencies: (..., dim) float32."""
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timestep.device) * (
        -math.log(LONGEST_PERIOD) / half
    )
    angles = timestep.float().unsqueeze(-1) * exponents.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
