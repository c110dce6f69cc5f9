# SPDX-License-Identifier: Apache-2.0
"""Grouped attention against a dense mask written from the table of who sees whom."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dreamzero_ros.engine.attention import attend, attend_groups, teacher_forcing_groups

pytestmark = pytest.mark.cpu


def kinds(blocks, per_frame, block, actions, states):
    """Kind, frame and block of every token of [clean | noisy | actions | states]; frame 0 is in block -1."""
    tokens = []
    for kind in ("clean", "noisy"):
        for frame in range(1 + blocks * block):
            tokens += [(kind, frame, (frame - 1) // block)] * per_frame
    tokens += [("action", None, b) for b in range(blocks) for _ in range(actions)]
    return tokens + [("state", None, b) for b in range(blocks) for _ in range(states)]


def sees(query, key, block, window):
    (kind, _, b), (key_kind, key_frame, key_b) = query, key
    if kind == "state":
        return key_kind == "state" and key_b == b
    if kind == "clean":
        end = 1 + (b + 1) * block
        return key_kind == "clean" and (
            key_frame == 0 or (b >= 0 and max(1, end - window) <= key_frame < end)
        )
    if b < 0:
        return key_kind == "noisy" and key_frame == 0
    if key_kind == "clean":
        return key_b < b
    return key_b == b


@pytest.mark.parametrize(("blocks", "block", "window"), [(1, 2, 9), (4, 2, 9), (6, 2, 9), (5, 3, 4)])
def test_groups_equal_the_table(blocks, block, window):
    per_frame, actions, states = 3, 4, 2
    tokens = kinds(blocks, per_frame, block, actions, states)
    mask = torch.tensor([[sees(query, key, block, window) for key in tokens] for query in tokens])
    groups = teacher_forcing_groups(1 + blocks * block, per_frame, block, actions, states, window)
    q, k, v = torch.randn(3, 2, len(tokens), 2, 8)
    expected = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), attn_mask=mask)
    torch.testing.assert_close(attend_groups(q, k, v, groups), expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_attend_is_softmax_of_scaled_products():
    q, k, v = torch.randn(2, 3, 2, 8), torch.randn(2, 5, 2, 8), torch.randn(2, 5, 2, 8)
    weights = (torch.einsum("blnd,bmnd->bnlm", q, k) / 8**0.5).softmax(-1)
    torch.testing.assert_close(attend(q, k, v), torch.einsum("bnlm,bmnd->blnd", weights, v))
