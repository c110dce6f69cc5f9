# SPDX-License-Identifier: Apache-2.0
"""Processes that share the work of one session, each with all weights and a device of its own.

Two ways to share, alone or together: by branch of guidance, where one half of the ranks computes the prompt
and the other half the negative prompt; and by token, where every rank has a part of the tokens of a call and,
in self attention, all tokens of a part of the heads. Devices should be alike: every rank runs the solver and
decides about its steps by itself, from flows that are the same on all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT_S = 60.0
"""How long a rank waits for another one in the middle of a step."""

IDLE = timedelta(days=365)
"""How long a rank waits for the next step; the end of the process that it waits for ends that at once."""


class RankError(RuntimeError):
    """Another rank ended or was silent for too long; end all ranks and start them anew.

    Between GPUs the process may end without it: there a silence is noticed by a watchdog of torch, which
    ends the process.
    """


@dataclass(frozen=True)
class Group:
    """Ranks that exchange tensors; all of them call the same methods in the same order."""

    handle: dist.ProcessGroup
    rank: int
    """Of this process in the group."""
    size: int

    def broadcast(self, x: Tensor, timeout: timedelta | None = None) -> Tensor:
        """Return the tensor of the first rank; on the others x says shape and dtype, and may be overwritten.

        Args:
            x: What is sent, or what it is like.
            timeout: How long to wait for the others, for tensors on the CPU; None: as `join` was told.

        Raises:
            RankError: If another rank does not take part.
        """
        x = x.contiguous()
        options = dist.BroadcastOptions()
        if timeout is not None:
            options.timeout = timeout
        with self._others():
            self.handle.broadcast([x], options).wait()
        return x

    def all_gather(self, x: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, which have one shape.

        Raises:
            RankError: If another rank does not take part.
        """
        x = x.contiguous()
        gathered = [torch.empty_like(x) for _ in range(self.size)]
        with self._others():
            dist.all_gather(gathered, x, group=self.handle)
        return gathered

    def all_to_all(self, x: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Send rows of x (rows, ...) to every rank, and return those that it sends, (rows', ...).

        Args:
            x: What is sent, ordered by rank.
            sent: Number of rows for every rank.
            received: Number of rows from every rank.

        Raises:
            RankError: If another rank does not take part.
        """
        out = x.new_empty(sum(received), *x.shape[1:])
        with self._others():
            dist.all_to_all_single(out, x.contiguous(), list(received), list(sent), group=self.handle)
        return out

    @contextmanager
    def _others(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankError(
                f"rank {dist.get_rank()}: another rank ended or was silent for too long; "
                "end all ranks and start them anew"
            ) from error


@dataclass(frozen=True)
class Ranks:
    """How this process shares a session with others; made by `join`."""

    rank: int
    """Number of this process; number 0 has the observations."""
    size: int
    all: Group
    """All ranks."""
    branches: Group | None
    """Ranks that compute the same tokens, the first under the prompt and the second under the negative
    prompt; None where every rank computes all branches."""
    tokens: Group | None
    """Ranks that compute the same branch, each a part of its tokens; None where every rank computes all."""

    def heads(self, num_heads: int) -> int:
        """Return how many of the heads this rank computes in self attention.

        Raises:
            ValueError: If the heads cannot be shared evenly.
        """
        shares = self.tokens.size if self.tokens else 1
        if num_heads % shares:
            fits = [count for count in range(1, num_heads + 1) if num_heads % count == 0]
            raise ValueError(
                f"{num_heads} heads cannot be shared evenly by {shares} ranks; let tokens be shared by a "
                f"number of ranks that divides the heads: {', '.join(map(str, fits))}"
            )
        return num_heads // shares

    def leave(self) -> None:
        """Part from the other ranks; once, when no session is shared any more."""
        dist.destroy_process_group()


def join(
    rendezvous: str,
    rank: int,
    size: int,
    device: torch.device,
    *,
    split_guidance: bool,
    timeout_s: float = TIMEOUT_S,
) -> Ranks:
    """Meet the other ranks; returns when all are there.

    Args:
        rendezvous: Where they meet, as `torch.distributed` takes it: `tcp://host:port`, `file:///path`, or
            `env://` under torchrun.
        rank: Number of this process, 0 to size - 1.
        size: Number of processes.
        device: Where this rank computes, each GPU rank on a GPU of its own.
        split_guidance: Whether prompt and negative prompt go to different ranks. Tokens are shared by all
            ranks of a branch, so with two ranks that is all that is shared.
        timeout_s: How long to wait for another rank before it counts as lost [s]; longer than a rank may take
            to compile its blocks, where they are compiled.

    Raises:
        ValueError: If the number of processes does not fit.
        RankError: If it cannot: another rank does not come in time, or this torch has no NCCL.
    """
    num_branches = 2 if split_guidance else 1
    if size < 2 or size % num_branches:
        asked = "an even number of ranks" if split_guidance else "at least 2 ranks"
        raise ValueError(f"size: expected {asked}, got {size}; a session alone needs no ranks")
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    timeout = timedelta(seconds=timeout_s)
    try:
        dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=size, timeout=timeout)
        return _arrange(rank, size, num_branches, timeout)
    except RuntimeError as error:
        if dist.is_initialized():
            dist.destroy_process_group()
        words = str(error).partition("\n")[0]
        raise RankError(f"rank {rank} cannot join the others: {words}") from error


def _arrange(rank: int, size: int, num_branches: int, timeout: timedelta) -> Ranks:
    """Form the groups."""
    parts = torch.arange(size).view(num_branches, -1)  # rows are branches, columns parts of the tokens
    return Ranks(
        rank,
        size,
        Group(dist.new_group(timeout=timeout), rank, size),
        _own_group(parts.T.tolist(), timeout),
        _own_group(parts.tolist(), timeout),
    )


def _own_group(groups: list[list[int]], timeout: timedelta) -> Group | None:
    """Form groups of ranks and return that of this rank; None for groups of one."""
    if len(groups[0]) == 1:
        return None
    rank, handles = dist.get_rank(), [dist.new_group(ranks, timeout=timeout) for ranks in groups]
    handle, ranks = next(pair for pair in zip(handles, groups, strict=True) if rank in pair[1])
    return Group(handle, ranks.index(rank), len(ranks))
