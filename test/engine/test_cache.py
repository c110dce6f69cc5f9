# SPDX-License-Identifier: Apache-2.0
"""The key/value cache against a naive one, and its protocol."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreamzero_ros.engine.attention import attend
from dreamzero_ros.engine.cache import ContextCache, KVCache, padding_logits
from dreamzero_ros.engine.config import TransformerConfig

pytestmark = pytest.mark.cpu

LAYERS, HEADS, HEAD_DIM, TOKENS_PER_FRAME = 2, 2, 4, 3


def sizes(block=2, window_blocks=2, actions=2):
    return TransformerConfig(
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


def make(batch=1, block=2, window_blocks=2, actions=2):
    config = sizes(block, window_blocks, actions)
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
            actual = cache.attention(layer)(own[0], *own)
            torch.testing.assert_close(actual, expected)
        if keep:
            cache.commit(start)
            start += count
        assert cache.next_frame == start
    assert cache.frames <= cache.window_frames


def write_all(cache, count):
    for layer in range(LAYERS):
        own = torch.randn(2, 1, count * TOKENS_PER_FRAME, HEADS, HEAD_DIM)
        cache.attention(layer)(own[0], *own)


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


def test_rows_of_one_call_are_filled_one_after_the_other():
    cache, apart = make(batch=3), [make(batch=2), make(batch=1)]
    rows = (slice(0, 2), slice(2, 3))
    own = torch.randn(2, 3, TOKENS_PER_FRAME, HEADS, HEAD_DIM)
    for part, alone in zip(rows, apart, strict=True):
        cache.begin(0)
        alone.begin(0)
        for layer in range(LAYERS):
            expected = alone.attention(layer)(*own[:1, part], *own[:, part])
            torch.testing.assert_close(cache.attention(layer, part)(*own[:1, part], *own[:, part]), expected)
    cache.commit(0)
    for part, alone in zip(rows, apart, strict=True):
        alone.commit(0)
        assert torch.equal(cache.stored[:, :, part], alone.stored)


def test_a_call_that_dreams_behind_what_it_observes_keeps_only_the_latter():
    """One call for both equals a call for each; what is observed sees nothing that is dreamed."""
    together, apart = make(), make()
    for cache in (together, apart):
        torch.manual_seed(1)
        write_all(cache, cache.begin(0))
        cache.commit(0)
    observed, dreamed = torch.randn(2, 2, 1, 2 * TOKENS_PER_FRAME, HEADS, HEAD_DIM)
    actions = torch.randn(2, 1, 3, HEADS, HEAD_DIM)
    block = torch.cat([dreamed, actions], dim=2)
    expected = []
    for own in (observed, block):
        start = apart.next_frame
        apart.begin(start)
        expected.append([apart.attention(layer)(own[0], *own) for layer in range(LAYERS)])
        if own is observed:
            apart.commit(start)
    together.begin(1, dreams=True)
    own = torch.cat([observed, block], dim=2)
    for layer in range(LAYERS):
        seen = together.attention(layer, observed=2 * TOKENS_PER_FRAME)(own[0], *own)
        torch.testing.assert_close(seen, torch.cat([expected[0][layer], expected[1][layer]], dim=1))
    together.commit(1)
    assert together.next_frame == apart.next_frame == 3
    assert torch.equal(together.stored, apart.stored)


@example(count=2, dtype=torch.bfloat16)
@given(count=st.integers(0, 1024), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_a_few_rows_weigh_as_much_as_all_padding(count, dtype):
    """In the steps of the dtype, of which one alone would be up to 2 % off."""
    logits = padding_logits(count, dtype)
    assert len(logits) <= min(count, 8)
    assert torch.equal(torch.tensor(logits, dtype=dtype).double(), torch.tensor(logits).double())
    assert sum(map(math.exp, logits)) == pytest.approx(count, rel=2e-6)


@pytest.mark.parametrize("lengths", [[3, 200], [0, 256], [1, 1]])
def test_a_text_whose_padding_is_merged_is_seen_as_before(lengths):
    config = replace(sizes(), text_len=256, image_tokens=2)
    context = ContextCache(config, 2, torch.device("cpu"), torch.float32)
    context.storage.copy_(torch.randn_like(context.storage))
    for row, length in enumerate(lengths):
        padding = context.text(0)[:, row : row + 1, length:]
        padding.copy_(torch.randn(2, 1, 1, HEADS, HEAD_DIM).expand_as(padding))
    q = torch.randn(2, 5, HEADS, HEAD_DIM)
    expected = attend(q, *context.layer(0).text)
    for row, length in enumerate(lengths):
        context.merge_padding([length], slice(row, row + 1))
    layer = context.layer(0)
    torch.testing.assert_close(attend(q, *layer.text, layer.logits), expected, atol=1e-5, rtol=1e-5)
    assert layer.text.shape[2] == min(256, -(-(max(lengths) + 1) // 64) * 64)
    alone = context.layer(0, slice(1, 2))
    torch.testing.assert_close(attend(q[1:], *alone.text, alone.logits), expected[1:], atol=1e-5, rtol=1e-5)
