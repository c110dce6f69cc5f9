# SPDX-License-Identifier: Apache-2.0
"""How several devices share the work of one session."""

from __future__ import annotations

from dataclasses import dataclass

import torch

KINDS = ("cuda", "cpu")


@dataclass(frozen=True)
class Sharing:
    """Who does what; behind every device there is a process with all weights.

    Branches of guidance are split first, as that needs the fewest exchanges. The devices of a branch share
    its tokens.
    """

    devices: tuple[torch.device, ...]
    """By rank."""
    guided: bool
    """Whether there is a negative branch."""

    @property
    def split_guidance(self) -> bool:
        """Whether one half of the devices computes the prompt, the other half the negative prompt."""
        return self.guided and len(self.devices) % 2 == 0

    @property
    def branches(self) -> int:
        """Branches of guidance that a device computes."""
        return 2 if self.guided and not self.split_guidance else 1

    @property
    def sharers(self) -> int:
        """Devices that share the tokens, and the heads, of a branch."""
        return len(self.devices) // (2 if self.split_guidance else 1)

    def in_words(self) -> str:
        """Say on how many devices, and what they share."""
        if len(self.devices) == 1:
            return "on one device"
        ways = ["guidance split"] * self.split_guidance + ["tokens shared"] * (self.sharers > 1)
        return f"on {len(self.devices)} devices: {', '.join(ways)}"


def share_work(devices: tuple[torch.device, ...], guided: bool, num_heads: int) -> Sharing:
    """Decide how devices share a session.

    Args:
        devices: By rank.
        guided: Whether there is a negative branch.
        num_heads: Heads of the transformer, which must be shared evenly.

    Raises:
        ValueError: If the heads cannot be shared evenly; the message says how many devices can.
    """
    sharing = Sharing(devices, guided)
    if num_heads % sharing.sharers:
        fewer = [
            size
            for size in range(1, len(devices))
            if num_heads % Sharing(devices[:size], guided).sharers == 0
        ]
        raise ValueError(
            f"{len(devices)} devices cannot share this model: its {num_heads} heads cannot be divided by "
            f"{sharing.sharers}; name {' or '.join(map(str, fewer))} of them"
        )
    return sharing


def parse_devices(text: str) -> tuple[torch.device, ...]:
    """Return devices that are named with commas between them.

    Raises:
        ValueError: If one is unknown, they are of several kinds, or a GPU is named twice.
    """
    try:
        devices = tuple(torch.device(name.strip()) for name in text.split(","))
    except RuntimeError:
        devices = ()
    kinds = {device.type for device in devices}
    if not kinds or not kinds.issubset(KINDS):
        raise ValueError(
            f"expected cuda, cuda:1 or cpu, or several with commas such as cuda:0,cuda:1, got {text!r}"
        )
    if len(kinds) > 1:
        raise ValueError(f"expected devices of one kind, got {text!r}")
    if kinds == {"cuda"} and len({device.index or 0 for device in devices}) < len(devices):
        raise ValueError(f"expected every GPU once, such as cuda:0,cuda:1, got {text!r}")
    return devices


def require_present(devices: tuple[torch.device, ...]) -> None:
    """Make sure that torch sees the devices.

    Raises:
        ValueError: If it does not see one.
    """
    seen = torch.cuda.device_count()
    for device in devices:
        if device.type == "cuda" and (device.index or 0) >= seen:
            raise ValueError(f"'{device}', but torch sees {seen or 'no'} CUDA devices")
