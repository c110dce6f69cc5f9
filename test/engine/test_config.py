# SPDX-License-Identifier: Apache-2.0
"""The named variants: sizes that follow from others, and names."""

from __future__ import annotations

import pytest

from dreamzero_ros.engine.config import VARIANTS, variant

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize(
    ("name", "canvas", "latent", "tokens", "head_dim"),
    [
        ("wan21_14b", (352, 640), (44, 80), 880, 128),
        ("wan22_5b", (320, 640), (10, 20), 50, 128),
        ("tiny", (96, 160), (12, 20), 60, 32),
    ],
)
def test_derived_sizes(name, canvas, latent, tokens, head_dim):
    config = variant(name)
    assert (config.canvas_height, config.canvas_width) == canvas
    assert config.latent_size == latent
    assert config.tokens_per_frame == tokens
    assert config.transformer.head_dim == head_dim
    assert config.transformer.window_frames == config.horizon_frames == 9


@pytest.mark.parametrize("name", VARIANTS)
def test_channels_fit_together(name):
    config = variant(name)
    sizes, channels = config.transformer, config.vae.z_dim
    assert sizes.out_dim == channels == len(config.vae.latents_mean) == len(config.vae.latents_std)
    assert sizes.in_dim == (2 * channels + 4 if sizes.concat_first_frame_latent else channels)
    assert sizes.text_dim == config.text.kwargs["d_model"]
    assert sizes.image_dim == config.image.kwargs["hidden_size"]
    side = config.image.kwargs["image_size"] // config.image.kwargs["patch_size"]
    assert sizes.image_tokens == 1 + side**2


def test_unknown_variant_names_the_nearest():
    with pytest.raises(ValueError, match=r"wan22_5.*nearest is 'wan22_5b'"):
        variant("wan22_5")
