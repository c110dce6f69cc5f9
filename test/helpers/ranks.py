# SPDX-License-Identifier: Apache-2.0
"""Processes on this machine that share sessions of a tiny engine; nothing of them is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from rollouts import Rollout, inputs, roll
from warm import CONTEXT

from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.parallel import Ranks, join
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.shared_session import SharedSession, serve
from dreamzero_ros.engine.switches import EXACT, Switches
from dreamzero_ros.engine.weights import random_engine

FIVE = SamplerConfig(dit_steps=5)

STARTUP_S = 180
"""Longest time until processes have imported everything, and ended [s]."""


@dataclass(frozen=True)
class Case:
    """A session to share."""

    sampler: SamplerConfig
    switches: Switches


@dataclass(frozen=True)
class Answer:
    """What a rank found."""

    rollouts: dict[str, Rollout]
    """By case."""
    every_call: Rollout
    """Empty but on rank 0."""
    cache_bytes: int
    """Size of the keys and values that it stores."""


def tiny_engine(num_heads: int) -> Engine:
    """A tiny engine with that many heads."""
    engine = random_engine("tiny", "cpu", torch.float32, seed=3)
    config = replace(engine.config, transformer=replace(engine.config.transformer, num_heads=num_heads))
    transformer = WorldActionTransformer(config.transformer).eval()
    transformer.load_state_dict(engine.transformer.state_dict())
    return replace(engine, config=config, transformer=transformer)


def every_call(session: Session | SharedSession, engine: Engine) -> Rollout:
    """What a session of two rollouts answers where it is used in every way."""
    (first, state), (second, _), (third, _), *_ = inputs(engine.config, batch=2)
    texts = torch.cat([engine.tokenize(text)[0] for text in ("open the drawer", "close it")])
    results = [session.step(first, state, "go")]
    session.look_ahead(second[:, :2])
    results.append(session.step(second, state, "go"))
    results.append(session.step(third, state, "go", latents=results[1].video))
    session.reset()
    results.append(session.step(third, state, "go"))
    results.append(session.step(second, state, texts))
    return Rollout(results)


def wrong_calls(session: SharedSession, engine: Engine) -> None:
    """Calls that are refused before any other rank hears of them."""
    images, state = inputs(engine.config, batch=2)[1]
    ids = engine.tokenize("go")[0]
    for wrong, arguments in {
        "images": (images[:, :, :-1], state, ids),
        "state": (images, state[:1], ids),
        "prompt": (images, state, ids.repeat(3, 1)),
        "latents": (images, state, ids, torch.zeros(2, 1)),
    }.items():
        with pytest.raises(ValueError, match=f"{wrong}: expected"):
            session.step(*arguments)
    with pytest.raises(ValueError, match="images: expected"):
        session.look_ahead(images)


@contextmanager
def processes(
    work: Callable[..., None], size: int, folder: Path, *arguments: Any
) -> Iterator[list[BaseProcess]]:
    """Runs `work(rank, size, folder, *arguments)` in processes, and kills at the end what is left of them."""
    ranks = [CONTEXT.Process(target=work, args=(rank, size, folder, *arguments)) for rank in range(size)]
    for process in ranks:
        process.start()
    try:
        yield ranks
    finally:
        for process in ranks:
            process.kill()
            process.join()


def share(
    folder: Path, size: int, split_guidance: bool, num_heads: int, cases: dict[str, Case]
) -> list[Answer]:
    """What all ranks answer to the same cases, one after the other."""
    with processes(_share, size, folder, split_guidance, num_heads, cases) as ranks:
        deadline = time.monotonic() + STARTUP_S
        for process in ranks:
            process.join(max(0.0, deadline - time.monotonic()))
        assert [process.exitcode for process in ranks] == [0] * size
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _join(rank: int, size: int, folder: Path, split_guidance: bool, timeout_s: float) -> Ranks:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    return join(meeting, rank, size, torch.device("cpu"), split_guidance=split_guidance, timeout_s=timeout_s)


def _share(
    rank: int, size: int, folder: Path, split_guidance: bool, num_heads: int, cases: dict[str, Case]
) -> None:
    ranks = _join(rank, size, folder, split_guidance, timeout_s=STARTUP_S)
    engine = tiny_engine(num_heads)
    rollouts = {}
    for name, case in cases.items():
        session = Session(engine, case.sampler, switches=case.switches, ranks=ranks)
        rollouts[name] = roll(session, inputs(engine.config))
    calls = Rollout()
    if rank:
        serve(engine, FIVE, ranks, 2, switches=EXACT)
    else:
        shared = SharedSession(engine, FIVE, ranks, 2, switches=EXACT)
        wrong_calls(shared, engine)
        calls = every_call(shared, engine)
        shared.close()
    cache_bytes = Session(engine, FIVE, ranks=ranks)._branches.cache.storage.nbytes
    torch.save(Answer(rollouts, calls, cache_bytes), folder / f"{rank}.pt")
    ranks.leave()


def lose(rank: int, size: int, folder: Path, lost: int, silent: bool, timeout_s: float) -> None:
    """Shares a session with a rank that is lost in the middle of its second step: it ends, or is silent.

    What the others say about it stands in `<rank>.txt`, with the time that they waited.
    """
    ranks = _join(rank, size, folder, split_guidance=True, timeout_s=timeout_s)
    engine = tiny_engine(3)
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1
        if rank == lost and passes > 8:  # a step has six
            time.sleep(10 * STARTUP_S) if silent else os._exit(1)

    engine.transformer.register_forward_hook(count)
    began = time.monotonic()
    try:
        if rank:
            serve(engine, FIVE, ranks)
        else:
            roll(SharedSession(engine, FIVE, ranks), inputs(engine.config))
    except RuntimeError as error:
        waited = time.monotonic() - began
        (folder / f"{rank}.txt").write_text(f"{type(error).__name__} {waited:.1f} {error}")
        os._exit(1)
