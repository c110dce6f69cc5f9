# SPDX-License-Identifier: Apache-2.0
"""The flow-matching objective: timesteps, noise and losses of video and actions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.schedule import TRAINING_STEPS


class TrainingSchedule:
    """Table of noise levels, their timesteps and loss weights, from pure noise (index 0) towards none.

    With u = 1 - j/n, sigma = shift u / (1 + (shift - 1) u) and timestep t = 1000 sigma, not truncated. The
    loss weight is exp(-2 ((t - 500)/1000)^2), shifted to a minimum of 0 and scaled to a mean of 1.

    Args:
        num_steps: Entries n.
        shift: Shift of the noise levels towards high noise.
    """

    def __init__(self, num_steps: int = TRAINING_STEPS, shift: float = 5.0) -> None:
        u = 1 - torch.arange(num_steps, dtype=torch.float64) / num_steps
        sigmas = shift * u / (1 + (shift - 1) * u)
        bell = torch.exp(-2 * (sigmas - 0.5) ** 2)
        weights = bell - bell.min()
        self.sigmas = sigmas.float()
        self.timesteps = (TRAINING_STEPS * sigmas).float()
        self.weights = (weights * num_steps / weights.sum()).float()

    def sigma(self, timestep: Tensor) -> Tensor:
        """Return the noise level of the table entries nearest to timesteps."""
        return self.sigmas.to(timestep.device)[self._nearest(timestep)]

    def weight(self, timestep: Tensor) -> Tensor:
        """Return the loss weight of the table entries nearest to timesteps."""
        return self.weights.to(timestep.device)[self._nearest(timestep)]

    def _nearest(self, timestep: Tensor) -> Tensor:
        return (self.timesteps.to(timestep.device) - timestep.unsqueeze(-1)).abs().argmin(-1)


@dataclass(frozen=True)
class NoiseMode:
    """How timesteps are drawn; the default is the mode of the released checkpoints.

    The release's emphasis on high noise is `video_beta=(3, 1)`, its decoupled mode adds `decoupled=True`.
    """

    video_beta: tuple[float, float] | None = None
    """Beta distribution of the clean fraction r: indices are floor(n (1 - r)), not uniform."""
    decoupled: bool = False
    """Whether every action draws its own index instead of taking that of its block."""


def draw_frame_indices(mode: NoiseMode, batch: int, frames: int, num_steps: int) -> Tensor:
    """Draw an index into the schedule for every latent frame, (B, T), from torch's global generator."""
    if mode.video_beta is None:
        return torch.randint(num_steps, (batch, frames))
    clean = torch.distributions.Beta(*mode.video_beta).sample(torch.Size((batch, frames)))
    return (num_steps * (1 - clean)).long().clamp(0, num_steps - 1)


def draw_action_indices(
    mode: NoiseMode,
    frame_indices: Tensor,
    num_frame_per_block: int,
    num_action_per_block: int,
    num_steps: int,
) -> Tensor:
    """Return an index for every action, (B, A): that of its block, or drawn for itself alone.

    Args:
        mode: How timesteps are drawn.
        frame_indices: Indices of the latent frames, tied within blocks, (B, T).
        num_frame_per_block: Latent frames of a block.
        num_action_per_block: Actions of a block.
        num_steps: Entries of the schedule.
    """
    of_actions = frame_indices[:, 1::num_frame_per_block].repeat_interleave(num_action_per_block, dim=1)
    return torch.randint_like(of_actions, num_steps) if mode.decoupled else of_actions


def tie_blocks(frame_indices: Tensor, num_frame_per_block: int) -> Tensor:
    """Give all frames of a block the index of its first one; frame 0 keeps its own. (B, T) to (B, T)."""
    of_blocks = frame_indices[:, 1::num_frame_per_block].repeat_interleave(num_frame_per_block, dim=1)
    return torch.cat([frame_indices[:, :1], of_blocks], dim=1)


def add_noise(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Return (1 - sigma) clean + sigma noise; sigma is that of the leading dimensions of `clean`."""
    sigma = sigma.to(clean.dtype).reshape(*sigma.shape, *[1] * (clean.ndim - sigma.ndim))
    return (1 - sigma) * clean + sigma * noise


@dataclass(frozen=True)
class Sample:
    """A batch of training clips with 1 + blocks * num_frame_per_block latent frames."""

    latents: Tensor
    """(B, C, T, h, w)."""
    image_conditioning: Tensor | None
    """Mask and first-image latents, (B, 4 + C, T, h, w); None for a model that does not append them."""
    text: Tensor
    """Text embeddings, (B, text_len, text_dim)."""
    image: Tensor
    """Image tokens, (B, image_tokens, image_dim)."""
    action: Tensor
    """Normalised actions in [-1, 1], (B, A, action_dim)."""
    action_mask: Tensor
    """True where an action is real, False on padding and in samples without actions; (B, A, action_dim)."""
    state: Tensor
    """Normalised states, (B, blocks * num_state_per_block, max_state_dim)."""


@dataclass(frozen=True)
class Noised:
    """The noise of one training step."""

    video_noise: Tensor
    """(B, C, T, h, w)."""
    action_noise: Tensor
    """(B, A, action_dim)."""
    timestep: Tensor
    """Timestep of every latent frame, (B, T) float32."""
    timestep_action: Tensor
    """Timestep of every action, (B, A) float32."""


def draw_noise(
    transformer: WorldActionTransformer, sample: Sample, schedule: TrainingSchedule, mode: NoiseMode
) -> Noised:
    """Draw noise and timesteps for a batch, from torch's global generators."""
    config, device = transformer.config, sample.latents.device
    batch, _, frames = sample.latents.shape[:3]
    num_steps = len(schedule.timesteps)
    of_frames = draw_frame_indices(mode, batch, frames, num_steps)
    of_frames = tie_blocks(of_frames, config.num_frame_per_block)
    of_actions = draw_action_indices(
        mode, of_frames, config.num_frame_per_block, config.num_action_per_block, num_steps
    )
    return Noised(
        video_noise=torch.randn_like(sample.latents),
        action_noise=torch.randn_like(sample.action),
        timestep=schedule.timesteps[of_frames].to(device),
        timestep_action=schedule.timesteps[of_actions].to(device),
    )


@dataclass(frozen=True)
class Losses:
    """Losses of one batch, scalars."""

    video: Tensor
    action: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised: both with equal weight."""
        return self.video + self.action


def flow_matching_losses(
    transformer: WorldActionTransformer, sample: Sample, noised: Noised, schedule: TrainingSchedule
) -> Losses:
    """Return the losses of the predicted flows, noise minus clean.

    Video: squared error averaged over a latent frame. Actions: squared error averaged over all dimensions,
    padding counting as zero. Both are weighted by timestep, then averaged.

    Raises:
        ValueError: If actions lie outside [-1, 1].
    """
    largest = sample.action.abs().max().item()
    if largest > 1:
        raise ValueError(
            f"actions: expected values in [-1, 1], got up to {largest:.3f}; normalise and clamp them"
        )
    video_sigma = schedule.sigma(noised.timestep)
    noisy_video = add_noise(sample.latents.transpose(1, 2), noised.video_noise.transpose(1, 2), video_sigma)
    noisy_action = add_noise(sample.action, noised.action_noise, schedule.sigma(noised.timestep_action))
    video, action = transformer.forward_training(
        noisy_video.transpose(1, 2),
        sample.latents,
        noised.timestep,
        sample.text,
        sample.image,
        sample.image_conditioning,
        noisy_action,
        noised.timestep_action,
        sample.state,
    )
    video_target = (noised.video_noise - sample.latents)[..., : video.shape[-2], : video.shape[-1]]
    video_error = (video - video_target).float().square().mean(dim=(1, 3, 4))  # (B, T)
    action_error = (action - (noised.action_noise - sample.action)).float().square() * sample.action_mask
    return Losses(
        video=(video_error * schedule.weight(noised.timestep)).mean(),
        action=(action_error.mean(-1) * schedule.weight(noised.timestep_action)).mean(),
    )
