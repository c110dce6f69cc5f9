# SPDX-License-Identifier: Apache-2.0
"""The small layers of the transformer: norms, projections of conditions, encoders of actions and states."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamzero_ros.engine.config import TransformerConfig

IMAGE_PROJECTION_EPS = 1e-5
LONGEST_PERIOD = 10000.0


class RmsNorm(nn.Module):
    """RMS norm over the last dimension: at least float32 inside, scaled in the dtype of the input."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale).to(x.dtype) * self.weight


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
        self.W1 = CategoryLinear(config.action_dim, config.dim)
        self.W2 = CategoryLinear(2 * config.dim, config.dim)
        self.W3 = CategoryLinear(config.dim, config.dim)

    def forward(self, action: Tensor, time: Tensor) -> Tensor:
        """Map actions (B, A, action_dim) and the sinusoids of their timesteps (B, A, dim) to tokens."""
        embedded = self.W1(action)
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
