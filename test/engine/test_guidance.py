# SPDX-License-Identifier: Apache-2.0
"""Guidance of the video flow."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.cache import ContextCache, KVCache
from dreamzero_ros.engine.config import TransformerConfig
from dreamzero_ros.engine.guidance import Branch, guided_flow

pytestmark = pytest.mark.cpu


def test_guidance_leads_the_video_away_and_leaves_the_actions():
    config = TransformerConfig(dim=4, num_layers=1, num_heads=1, ffn_dim=4, in_dim=1, out_dim=1)
    cpu = torch.device("cpu")
    prompt, negative = (
        Branch(KVCache(config, 1, 1, cpu, torch.float32), ContextCache(config, 1, cpu, torch.float32))
        for _ in range(2)
    )
    flows = {
        id(prompt): (torch.tensor([2.0]), torch.tensor([7.0])),
        id(negative): (torch.tensor([1.5]), torch.tensor([9.0])),
    }
    video, action = guided_flow(lambda branch: flows[id(branch)], prompt, negative, 5.0)
    assert (video.item(), action.item()) == (4.0, 7.0)
    video, action = guided_flow(lambda branch: flows[id(branch)], prompt, None, 1.0)
    assert (video.item(), action.item()) == (2.0, 7.0)
