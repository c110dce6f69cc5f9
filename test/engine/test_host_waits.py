# SPDX-License-Identifier: Apache-2.0
"""Within a call the host never waits for the device, but where the dynamic rule or images ahead decide.

What makes it wait on a GPU shows on a CPU, too: operators that bring a value to the host, and tensors made
of the host's values, whose copy to the device waits for all that is queued there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from rollouts import inputs, roll
from torch.utils._python_dispatch import TorchDispatchMode

from dreamzero_ros.bench.gpu.recording import WAITS
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.lookahead import IMAGES_AHEAD
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, EXACT, Switches
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu


class Waits(TorchDispatchMode):
    """Collects the operators that make the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return random_engine("tiny", "cpu", torch.float32)


@pytest.mark.parametrize(
    "switches",
    [pytest.param(EAGER, id="eager", marks=pytest.mark.slow), pytest.param(EXACT, id="exact")],
)
def test_the_host_waits_only_to_decide_about_steps(engine: Engine, switches: Switches) -> None:
    """After the prompt has been read; also in the first window, in which all is seen for the first time."""
    for steps in (8, "dynamic"):
        session = Session(engine, SamplerConfig(dit_steps=steps), switches=switches)
        calls = inputs(engine.config)
        roll(session, calls[:1])
        session.reset()
        with Waits() as waits:
            rollout = roll(session, calls)
        decisions = sum(len(result.similarities) for result in rollout.results)
        assert waits.names == ["_local_scalar_dense"] * decisions
        assert (decisions > 0) == (steps == "dynamic")


def test_images_that_were_encoded_ahead_are_compared_once(engine: Engine) -> None:
    session = Session(engine, SamplerConfig(dit_steps=8), switches=EXACT)
    first, second, *_ = inputs(engine.config)
    roll(session, [first])
    with Waits() as waits:
        session.look_ahead(second[0][:, :IMAGES_AHEAD])
        roll(session, [second])
    assert waits.names == ["equal"]
