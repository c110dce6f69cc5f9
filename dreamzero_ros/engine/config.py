# SPDX-License-Identifier: Apache-2.0
"""Sizes of the world action model, formats of its weights and settings of its sampler."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

LinearFormat = Literal["native", "fp8_weights", "fp8", "nvfp4"]
"""How linear layers are stored and multiplied.

- native: in the type of the model.
- fp8_weights: weights stored as float8 e4m3 with a scale per row, multiplied in the type of the model: half
  the memory, no more speed, on any device.
- fp8: activations, too, with a scale per token; multiplied as float8.
- nvfp4: both as float4 e2m1 in blocks of 16 with float8 scales.
"""

FORMATS: Final[tuple[LinearFormat, ...]] = get_args(LinearFormat)

PATCH = 2
"""Side of the square patch of latent pixels that becomes one token."""

MASK_CHANNELS = 4
"""Channels that mark the given first image in the image conditioning."""

NEGATIVE_PROMPT = (
    "Vibrant colors, overexposed, static, blurry details, text, subtitles, style, artwork, painting, image, "
    "still, grayscale, dull, worst quality, low quality, JPEG artifacts, ugly, mutilated, extra fingers, "
    "bad hands, bad face, deformed, disfigured, mutated limbs, fused fingers, stagnant image, "
    "cluttered background, three legs, many people in the background, walking backwards."
)
"""The negative prompt of the reference release."""


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the diffusion transformer."""

    dim: int
    """Width of a token."""
    num_layers: int
    num_heads: int
    ffn_dim: int
    """Inner width of the feed-forward layers."""
    in_dim: int
    """Channels of the patch convolution: latent, and mask and first image where these are appended."""
    out_dim: int
    """Channels of a latent."""
    text_dim: int = 4096
    """Width of a text embedding."""
    text_len: int = 512
    """Rows of a text embedding; all of them take part in attention, padding too."""
    image_dim: int = 1280
    """Width of an image token."""
    image_tokens: int = 257
    freq_dim: int = 256
    """Width of the sinusoid of a timestep."""
    action_dim: int = 32
    """Width of an action, padded."""
    max_state_dim: int = 64
    """Width of a state, padded."""
    hidden_size: int = 1024
    """Inner width of the state encoder and the action decoder."""
    num_frame_per_block: int = 2
    """Latent frames generated at a time."""
    num_action_per_block: int = 24
    """Actions generated with one block."""
    num_state_per_block: int = 1
    max_chunk_size: int = 4
    """Blocks in the attention window."""
    concat_first_frame_latent: bool = True
    """Whether mask and first image are appended to the latent by channel."""
    eps: float = 1e-6
    """Epsilon of the norms, except those around the image projection."""

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.dim // self.num_heads

    @property
    def window_frames(self) -> int:
        """Latent frames that a token can attend to: the first one and `max_chunk_size` blocks."""
        return self.max_chunk_size * self.num_frame_per_block + 1


@dataclass(frozen=True)
class VaeConfig:
    """Sizes of the causal video autoencoder."""

    z_dim: int
    """Channels of a latent."""
    latents_mean: tuple[float, ...]
    """Mean of each latent channel, subtracted after encoding."""
    latents_std: tuple[float, ...]
    """Standard deviation of each latent channel, divided by after encoding."""
    spatial_factor: int = 8
    """Image pixels per latent pixel, along each side."""
    temporal_factor: int = 4
    """Images per latent frame, after the first."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `diffusers.AutoencoderKLWan`."""


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the text encoder."""

    tokenizer: str
    """Hub id of the tokenizer, or `"bytes"` for one token per byte."""
    kwargs: Mapping[str, Any]
    """Arguments of `transformers.UMT5Config`."""


@dataclass(frozen=True)
class ImageConfig:
    """Sizes of the image encoder."""

    kwargs: Mapping[str, Any]
    """Arguments of `transformers.CLIPVisionConfig`."""


@dataclass(frozen=True)
class ModelConfig:
    """A whole model: transformer, encoders, autoencoder and the sizes of its pictures [pixels]."""

    name: str
    transformer: TransformerConfig
    vae: VaeConfig
    text: TextConfig
    image: ImageConfig
    view_height: int
    """Height of one camera view on the canvas."""
    view_width: int
    """Width of one camera view on the canvas."""
    model_height: int
    """Height to which the canvas is resized inside the model."""
    model_width: int
    """Width to which the canvas is resized inside the model."""
    num_frames: int = 33
    """Images behind the image conditioning: the given one and blank ones."""

    @property
    def canvas_height(self) -> int:
        """Height of the canvas of two by two views."""
        return 2 * self.view_height

    @property
    def canvas_width(self) -> int:
        """Width of the canvas of two by two views."""
        return 2 * self.view_width

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of a latent [latent pixels]."""
        return self.model_height // self.vae.spatial_factor, self.model_width // self.vae.spatial_factor

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of one latent frame."""
        height, width = self.latent_size
        return (height // PATCH) * (width // PATCH)

    @property
    def horizon_frames(self) -> int:
        """Latent frames of the image conditioning."""
        return 1 + (self.num_frames - 1) // self.vae.temporal_factor


@dataclass(frozen=True)
class SamplerConfig:
    """Settings of the denoising of one chunk."""

    num_steps: int = 16
    """Solver steps."""
    sigma_shift: float = 5.0
    """Shift of the noise schedule towards high noise."""
    guidance_scale: float = 5.0
    """Weight of classifier-free guidance on the video flow; 1 leaves out the negative prompt."""
    dit_steps: int | Literal["dynamic"] = 8
    """Solver steps that run the transformer; `"dynamic"` decides by the similarity of the last two flows."""
    video_final_noise: float | None = None
    """Noise level at which the video stops while the actions go on to zero, or None to denoise both fully."""
    similarity_skips: tuple[tuple[float, int], ...] = ((0.95, 4), (0.93, 2))
    """Dynamic rule: above this cosine similarity skip this many steps, first match counts."""
    negative_prompt: str = NEGATIVE_PROMPT
    """Text whose video flow guidance leads away from."""
    seed: int = 1140
    """Seed of the initial noise of every chunk."""


_UMT5_XXL = TextConfig(
    tokenizer="google/umt5-xxl",
    kwargs={
        "vocab_size": 256384,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-6,
    },
)

_CLIP_VIT_H = ImageConfig(
    kwargs={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "projection_dim": 1024,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    },
)

# fmt: off
_WAN21_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)
_WAN21_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)
_WAN22_MEAN = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557,
    -0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825,
    -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230,
    -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748,
    0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)
_WAN22_STD = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013,
    0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978,
    0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093,
    0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
    0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
)
# fmt: on

TINY = ModelConfig(
    name="tiny",
    transformer=TransformerConfig(
        dim=96,
        num_layers=2,
        num_heads=3,
        ffn_dim=192,
        in_dim=36,
        out_dim=16,
        text_dim=64,
        text_len=768,
        image_dim=64,
        freq_dim=64,
        hidden_size=64,
    ),
    vae=VaeConfig(
        z_dim=16,
        latents_mean=_WAN21_MEAN,
        latents_std=_WAN21_STD,
        kwargs={
            "base_dim": 4,
            "dim_mult": [1, 2, 4],
            "num_res_blocks": 1,
            "temperal_downsample": [True, True],
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
        },
    ),
    text=TextConfig(
        tokenizer="bytes",
        kwargs={
            "vocab_size": 384,
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
            "feed_forward_proj": "gated-gelu",
        },
    ),
    image=ImageConfig(
        kwargs={
            "hidden_size": 64,
            "intermediate_size": 128,
            "projection_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 224,
            "patch_size": 14,
            "hidden_act": "gelu",
        },
    ),
    view_height=48,
    view_width=80,
    model_height=96,
    model_width=160,
)

BENCH = replace(
    TINY,
    name="bench",
    transformer=replace(TINY.transformer, dim=128, num_layers=16, num_heads=1, ffn_dim=352, text_len=512),
)
"""For benchmarks on a CPU: heads as wide and texts as long as in the large variants, and many layers."""

WAN21_14B = ModelConfig(
    name="wan21_14b",
    transformer=TransformerConfig(
        dim=5120,
        num_layers=40,
        num_heads=40,
        ffn_dim=13824,
        in_dim=36,
        out_dim=16,
    ),
    vae=VaeConfig(z_dim=16, latents_mean=_WAN21_MEAN, latents_std=_WAN21_STD),
    text=_UMT5_XXL,
    image=_CLIP_VIT_H,
    view_height=176,
    view_width=320,
    model_height=352,
    model_width=640,
)

WAN22_5B = ModelConfig(
    name="wan22_5b",
    transformer=TransformerConfig(
        dim=3072,
        num_layers=30,
        num_heads=24,
        ffn_dim=14336,
        in_dim=48,
        out_dim=48,
        concat_first_frame_latent=False,
    ),
    vae=VaeConfig(
        z_dim=48,
        latents_mean=_WAN22_MEAN,
        latents_std=_WAN22_STD,
        spatial_factor=16,
        kwargs={
            "base_dim": 160,
            "decoder_base_dim": 256,
            "is_residual": True,
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "scale_factor_spatial": 16,
        },
    ),
    text=_UMT5_XXL,
    image=_CLIP_VIT_H,
    view_height=160,
    view_width=320,
    model_height=160,
    model_width=320,
)

VARIANTS: Mapping[str, ModelConfig] = {config.name: config for config in (TINY, BENCH, WAN21_14B, WAN22_5B)}


def variant(name: str) -> ModelConfig:
    """Return the model configuration of that name.

    Raises:
        ValueError: If there is no such variant; the message names the nearest one.
    """
    if name not in VARIANTS:
        nearest = difflib.get_close_matches(name, VARIANTS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"unknown variant {name!r}: expected one of {', '.join(VARIANTS)}; nearest is {nearest!r}"
        )
    return VARIANTS[name]
