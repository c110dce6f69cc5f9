# SPDX-License-Identifier: Apache-2.0
"""The key/value cache against a naive one, and its protocol."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.engine.attention import attend
from dreamzero_ros.engine.cache import KVCache
from dreamzero_ros.engine.config import TransformerConfig

pytestmark = pytest.mark.cpu

LAYERS, HEADS, HEAD_DIM, TOKENS_PER_FRAME = 2, 2, 4, 3


def make(batch=1, block=2, window_blocks=2, actions=2):
    config = TransformerConfig(
        dim=HEADS * HEAD_DIM,
        num_layers=LAYERS,
        num_heads=HEADS,
        ffn_dim=8,
        in_dim=4,
        out_dim=4,
        num_frame_per_block=block,
        num_action_per_block=actions,
        max_chunk_size=window_blocks,
    )
    return KVCache(config, batch, TOKENS_PER_FRAME, torch.device("cpu"), torch.float32)


class NaiveCache:
    """Grows by concatenation: one list of keys and values per layer, cut to the window."""

    def __init__(self, window_tokens):
        self.window_tokens = window_tokens
        self.layers = [None] * LAYERS

    def attend(self, layer, q, video, others, keep):
        stored = self.layers[layer]
        grown = video if stored is None else torch.cat([stored, video], dim=2)
        grown = grown[:, :, -self.window_tokens :]
        if keep:
            self.layers[layer] = grown
        return attend(q, *torch.cat([grown, others], dim=2))


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 2),
    block=st.integers(1, 3),
    window_blocks=st.integers(1, 3),
    keeps=st.lists(st.booleans(), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
)
def test_equals_recomputing_without_a_cache(batch, block, window_blocks, keeps, seed):
    """Any sequence of kept and discarded calls, past the end of the window too."""
    cache = make(batch, block, window_blocks)
    naive = NaiveCache(cache.window_frames * TOKENS_PER_FRAME)
    generator = torch.Generator().manual_seed(seed)
    start = 0
    for keep in keeps:
        count = cache.begin(start)
        assert count == (1 if start == 0 else block)
        for layer in range(LAYERS):
            video = torch.randn(2, batch, count * TOKENS_PER_FRAME, HEADS, HEAD_DIM, generator=generator)
            others = torch.randn(2, batch, 0 if keep else 3, HEADS, HEAD_DIM, generator=generator)
            own = torch.cat([video, others], dim=2)
            expected = naive.attend(layer, own[0], video, others, keep)
            actual = attend(own[0], *cache.write(layer, *own))
            torch.testing.assert_close(actual, expected)
        if keep:
            cache.commit(start)
            start += count
        assert cache.next_frame == start
    assert cache.frames <= cache.window_frames


def write_all(cache, count):
    for layer in range(LAYERS):
        own = torch.randn(2, 1, count * TOKENS_PER_FRAME, HEADS, HEAD_DIM)
        cache.write(layer, *own)


def test_storage_keeps_its_address():
    cache = make()
    address = cache.storage.data_ptr()
    for _ in range(2):
        for start in (0, 1, 3, 5, 7):
            write_all(cache, cache.begin(start))
            cache.commit(start)
        assert cache.frames == cache.window_frames
        cache.reset()
        assert (cache.frames, cache.next_frame, cache.stored.numel()) == (0, 0, 0)
    assert cache.storage.data_ptr() == address


def test_begin_out_of_order_names_both_frames():
    cache = make()
    write_all(cache, cache.begin(0))
    cache.commit(0)
    with pytest.raises(ValueError, match=r"begin at frame 3, expected frame 1.*reset"):
        cache.begin(3)
    with pytest.raises(ValueError, match=r"begin at frame 0, expected frame 1"):
        cache.begin(0)


def test_commit_out_of_order_names_both_frames():
    cache = make()
    cache.begin(0)
    with pytest.raises(ValueError, match=r"commit at frame 1, but the open call is at 0"):
        cache.commit(1)
    cache.commit(0)
    with pytest.raises(ValueError, match=r"commit at frame 0, but the open call is at None"):
        cache.commit(0)
