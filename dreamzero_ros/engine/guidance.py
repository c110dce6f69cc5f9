# SPDX-License-Identifier: Apache-2.0
"""Classifier-free guidance: the transformer under the prompt and under a negative prompt.

Guidance leads the flow of the video away from the negative prompt; actions follow the prompt alone. Both
branches see the same frames, actions and states, and differ in the text only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dreamzero_ros.engine.attention_kernels import AttentionKernels, pick_kernels
from dreamzero_ros.engine.cache import ContextCache, KVCache
from dreamzero_ros.engine.config import ModelConfig
from dreamzero_ros.engine.graphs import Flows, Kind, Recorder, make_graphs
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.parallel import Ranks
from dreamzero_ros.engine.switches import Switches
from dreamzero_ros.engine.times import Times, repeat

PROMPT, NEGATIVE = 0, 1
"""Numbers of the branches."""


class Branches:
    """Runs the transformer for one session: caches, branches of guidance, and how they are computed.

    Args:
        transformer: The weights.
        config: Sizes of the model.
        batch: Number of rollouts B.
        scale: Weight of guidance; at 1 there is no negative branch.
        switches: Speed-ups.
        device: Where the caches lie.
        dtype: Their dtype.
        ranks: Processes that share the work; None: this one computes alone.
        recorder: Records passes for the switch `graphs`; by default as CUDA graphs.

    Raises:
        ValueError: If the ranks cannot share it, or passes cannot be recorded.
    """

    def __init__(
        self,
        transformer: WorldActionTransformer,
        config: ModelConfig,
        batch: int,
        scale: float,
        switches: Switches,
        device: torch.device,
        dtype: torch.dtype,
        ranks: Ranks | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._own = _own_branches(scale != 1, ranks)
        self._graphs = make_graphs(device, ranks.size if ranks else 1, recorder) if switches.graphs else None
        self._transformer = transformer
        self._sizes = config.transformer
        self._tokens_per_frame = config.tokens_per_frame
        self._batch = batch
        self._scale = scale
        self._switches = switches
        self._device = device
        self._dtype = dtype
        self._sharers = ranks.tokens if ranks else None
        self._couple = ranks.branches if ranks else None
        rows = batch * len(self._own)
        heads = ranks.heads(self._sizes.num_heads) if ranks else None
        self.cache = KVCache(
            self._sizes, rows, config.tokens_per_frame, device, dtype, heads, switches.float8_cache
        )
        self.context = ContextCache(config.transformer, rows, device, dtype)
        self._shared_times: dict[tuple[int, ...], Times] = {}
        self.kernels = self._pick_kernels(heads) if switches.pick_attention else None
        """Of attention, where they were chosen."""

    def computes(self, branch: int) -> bool:
        """Whether this process computes a branch."""
        return branch in self._own

    def read(self, text: Tensor, mask: Tensor, branch: int) -> None:
        """Take in the text of a branch.

        Args:
            text: Text embeddings, (B or 1, text_len, text_dim), rows of padding zero.
            mask: 1 for a token and 0 for padding, (B or 1, text_len).
            branch: `PROMPT` or `NEGATIVE`, one that this process computes.
        """
        rows = self._rows(branch)
        self._transformer.fill_text(self.context, text, rows)
        if self._switches.merge_padding:
            self.context.merge_padding(mask.sum(dim=1).tolist(), rows)

    def look(self, image: Tensor) -> None:
        """Take in the image tokens of a window, (B, image_tokens, image_dim)."""
        self._transformer.fill_image(self.context, image)

    def observe(self, start: int, latents: Tensor, y: Tensor) -> None:
        """Write observed frames into the cache.

        Args:
            start: Position of the first frame.
            latents: The frames, (B, C, T, h, w).
            y: Their image conditioning, (B, 4 + C, T, h, w).
        """
        times = self._times(latents.shape[2], 0, 0, 0)
        for rows in self._passes(guided=True):
            self.cache.begin(start)
            self._transform(start, rows, times, latents, y)
        self.cache.commit(start)

    def flows(
        self,
        start: int,
        video: Tensor,
        y: Tensor,
        action: Tensor,
        state: Tensor,
        timesteps: tuple[int, int],
        *,
        guided: bool = True,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict the flows of the video and of the actions.

        Args:
            start: Position of the first frame of the call.
            video: Noisy block, (B, C, num_frame_per_block, h, w).
            y: Image conditioning of all frames of the call, (B, 4 + C, T, h, w).
            action: Noisy actions, (B, A, action_dim).
            state: Normalised state, (B, num_state_per_block, max_state_dim).
            timesteps: Of the video and of the actions.
            guided: Whether guidance leads the video.
            observed: Frames before the block, (B, C, T', h, w), to be written into the cache on the way.
        """
        ahead = 0 if observed is None else observed.shape[2]
        latents = video if observed is None else torch.cat([observed, video], dim=2)
        times = self._times(ahead, video.shape[2], *timesteps)
        predictions: list[Flows] = []
        for rows in self._passes(guided):
            self.cache.begin(start, dreams=observed is not None)
            predictions.append(self._transform(start, rows, times, latents, y, action, state, ahead))
        if observed is not None:
            self.cache.commit(start)
        if not predictions:
            predictions.append((torch.empty_like(video), torch.empty_like(action)))
        flow = torch.cat([flow for flow, _ in predictions])
        action_flow = predictions[0][1]
        assert action_flow is not None, "a call that dreams predicts actions, too"
        action_flow = action_flow[: self._batch]
        if self._couple:
            flow = torch.cat(self._couple.all_gather(flow)) if guided else self._couple.broadcast(flow)
            action_flow = self._couple.broadcast(action_flow)
        return self._guide(flow), action_flow

    def _pick_kernels(self, heads: int | None) -> AttentionKernels:
        """Choose those that are the fastest in a call that dreams, behind a full window."""
        sizes, tokens = self._sizes, self._tokens_per_frame
        others = sizes.num_action_per_block + sizes.num_state_per_block
        return pick_kernels(
            rows=self._batch * (len(self._own) if self._switches.batch_guidance else 1),
            queries=sizes.num_frame_per_block * tokens + others,
            keys=sizes.window_frames * tokens + others,
            heads=heads or sizes.num_heads,
            head_dim=sizes.head_dim,
            device=self._device,
            dtype=self._dtype,
        )

    def _transform(
        self,
        start: int,
        rows: slice,
        times: Times,
        latents: Tensor,
        y: Tensor,
        action: Tensor | None = None,
        state: Tensor | None = None,
        ahead: int = 0,
    ) -> Flows:
        """Run the transformer for the branches in `rows`, or replay what it did in such a call.

        Args:
            start: Position of the first frame.
            rows: Rows of the caches.
            times: Timesteps of all tokens.
            latents: Frames of all rollouts, likewise all that follows.
            y: Image conditioning.
            action: Noisy actions.
            state: Normalised state.
            ahead: Frames that are observed in a call that dreams the others.
        """

        def compute(
            x: Tensor, y: Tensor, action: Tensor | None, state: Tensor | None, *told: Tensor
        ) -> Flows:
            flows: Flows = self._transformer(
                x,
                Times(*told),
                self.context,
                self.cache,
                start,
                y,
                action,
                state,
                observed_frames=ahead,
                rows=rows,
                switches=self._switches,
                sharers=self._sharers,
                kernels=self.kernels.backends if self.kernels else (),
            )
            return flows

        filled = (None if x is None else self._fill(x, rows) for x in (latents, y, action, state))
        given: list[Any] = [*filled, times.frames, times.modulation, times.row, times.actions]
        if self._graphs is None:
            return compute(*given)
        kind = Kind(
            start=start,
            stored=self.cache.frames,
            observed=ahead,
            rows=(rows.start, rows.stop),
            text_rows=self.context.merged_rows,
        )
        return self._graphs.run(kind, compute, given)

    def _guide(self, flow: Tensor) -> Tensor:
        """Lead the flow of the prompt away from that of the negative prompt, where there is one."""
        if len(flow) == self._batch:
            return flow
        prompt, away = flow.chunk(2)
        return away + self._scale * (prompt - away)

    def _times(self, observed: int, dreamed: int, timestep: int, timestep_action: int) -> Times:
        if self._switches.shared_times:
            key = (observed, dreamed, timestep, timestep_action)
            if key not in self._shared_times:
                tokens = self._tokens_per_frame
                self._shared_times[key] = self._transformer.shared_times(
                    observed * tokens, dreamed * tokens, timestep, timestep_action
                )
            return self._shared_times[key]
        frames = repeat([0, timestep], [observed, dreamed], self._device)[None]
        if not dreamed:
            return self._transformer.times(frames, self._tokens_per_frame)
        actions = torch.full((1, self._sizes.num_action_per_block), timestep_action, device=self._device)
        times = self._transformer.times(
            frames, self._tokens_per_frame, actions, self._sizes.num_state_per_block
        )
        return dataclasses.replace(times, frames=times.frames[:, observed:])

    def _passes(self, guided: bool) -> Iterator[slice]:
        """Rows of this process that go through the transformer together."""
        if guided and self._switches.batch_guidance:
            yield slice(0, len(self._own) * self._batch)
            return
        for branch in self._own:
            if guided or branch == PROMPT:
                yield self._rows(branch)

    def _rows(self, branch: int) -> slice:
        """Rows of a branch."""
        first = self._own.index(branch) * self._batch
        return slice(first, first + self._batch)

    def _fill(self, x: Tensor, rows: slice) -> Tensor:
        """Repeat rollouts (B, ...) for every branch in `rows`."""
        branches = (rows.stop - rows.start) // self._batch
        return x if branches == 1 else torch.cat([x] * branches)


def _own_branches(guided: bool, ranks: Ranks | None) -> tuple[int, ...]:
    """Branches that this process computes."""
    if ranks is None or ranks.branches is None:
        return (PROMPT, NEGATIVE) if guided else (PROMPT,)
    if not guided:
        raise ValueError(
            "guidance cannot be split over ranks: the sampler has no negative prompt, since guidance_scale "
            "is 1 or its only step is not guided; join the ranks with split_guidance=False"
        )
    return (ranks.branches.rank,)
