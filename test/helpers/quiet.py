# SPDX-License-Identifier: Apache-2.0
"""Ranks without other processes, for what needs no exchange."""

from __future__ import annotations

import torch.distributed as dist

from dreamzero_ros.engine.parallel import Group, Ranks


def group(size: int, rank: int = 0) -> Group:
    """A group that says nothing to anybody."""
    return Group(dist.ProcessGroup(rank, size), rank, size)


def quiet_ranks(branches: int, tokens: int) -> Ranks:
    """Rank 0 of so many ranks by branch and by token."""
    return Ranks(
        rank=0,
        size=branches * tokens,
        all=group(branches * tokens),
        branches=group(branches) if branches > 1 else None,
        tokens=group(tokens) if tokens > 1 else None,
    )
