# SPDX-License-Identifier: Apache-2.0
"""The video autoencoder: frame counts, causality, normalisation, both kinds."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.config import VARIANTS, VaeConfig
from dreamzero_ros.engine.vae import VideoVae

pytestmark = pytest.mark.cpu

HEIGHT, WIDTH = 32, 48
WAN21 = VaeConfig(
    z_dim=4,
    latents_mean=(0.5, -1.0, 0.0, 2.0),
    latents_std=(2.0, 0.5, 1.0, 3.0),
    kwargs={"base_dim": 4, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1},
)
WAN22 = VaeConfig(
    z_dim=4,
    latents_mean=WAN21.latents_mean,
    latents_std=WAN21.latents_std,
    spatial_factor=16,
    kwargs={
        **VARIANTS["wan22_5b"].vae.kwargs,
        "base_dim": 4,
        "decoder_base_dim": 4,
        "dim_mult": [1, 1, 2, 2],
        "num_res_blocks": 1,
    },
)


@pytest.fixture(scope="module", params=[WAN21, WAN22], ids=["wan21", "wan22"])
def vae(request: pytest.FixtureRequest) -> VideoVae:
    torch.manual_seed(0)
    return VideoVae(request.param).eval()


def video(frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, frames, HEIGHT, WIDTH, generator=generator) * 2 - 1


@pytest.mark.parametrize(("images", "latents"), [(1, 1), (5, 2), (9, 3), (11, 3), (13, 4), (15, 4), (33, 9)])
def test_the_first_image_is_alone_and_then_four_make_a_latent_frame(
    vae: VideoVae, images: int, latents: int
) -> None:
    side = vae.config.spatial_factor
    encoded = vae.encode(video(images))
    assert encoded.shape == (1, vae.config.z_dim, latents, HEIGHT // side, WIDTH // side)
    if latents < 4:
        assert vae.decode(encoded).shape == (1, 3, 1 + 4 * (latents - 1), HEIGHT, WIDTH)


def test_a_latent_frame_does_not_see_later_images(vae: VideoVae) -> None:
    whole = vae.encode(video(9))
    first = vae.encode(video(9)[:, :, :1])
    torch.testing.assert_close(whole[:, :, :1], first)
    changed = video(9)
    changed[:, :, 5:] = video(4, seed=1)
    differs = (vae.encode(changed) - whole).abs().amax(dim=(0, 1, 3, 4)) > 1e-4
    assert differs.tolist() == [False, False, True]


def test_images_after_the_last_group_of_four_are_not_seen(vae: VideoVae) -> None:
    longer = torch.cat([video(9), video(3, seed=1)], dim=2)
    assert torch.equal(vae.encode(longer), vae.encode(video(9)))


def test_a_call_knows_nothing_of_the_one_before(vae: VideoVae) -> None:
    before = vae.encode(video(9))
    vae.encode(video(5, seed=1))
    vae.decode(torch.randn_like(before))
    assert torch.equal(vae.encode(video(9)), before)


def test_latents_are_the_posterior_mean_normalised_by_channel(vae: VideoVae) -> None:
    with torch.no_grad():
        posterior = vae.model.encode(video(5)).latent_dist
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    torch.testing.assert_close(vae.encode(video(5)), (posterior.mean - mean) / std)


def test_decoding_undoes_the_normalisation_and_stays_in_range(vae: VideoVae) -> None:
    side = vae.config.spatial_factor
    z = torch.randn(1, vae.config.z_dim, 2, HEIGHT // side, WIDTH // side)
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    with torch.no_grad():
        expected = vae.model.decode(z).sample
    torch.testing.assert_close(vae.decode((z - mean) / std), expected, atol=1e-4, rtol=1e-4)
    loud = vae.decode(1e4 * z)
    assert loud.abs().max() <= 1


def test_the_constants_of_the_variants_are_complete() -> None:
    for config in VARIANTS.values():
        assert len(config.vae.latents_mean) == len(config.vae.latents_std) == config.vae.z_dim
        assert min(config.vae.latents_std) > 0
