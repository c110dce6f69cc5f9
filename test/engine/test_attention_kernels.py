# SPDX-License-Identifier: Apache-2.0
"""Attention by the kernel that was measured to be the fastest, against the plain engine."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import torch
from rollouts import assert_equal, inputs, roll
from torch.profiler import profile

from dreamzero_ros.engine import guidance
from dreamzero_ros.engine.attention import attend
from dreamzero_ros.engine.attention_kernels import AttentionKernels, pick_kernels
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, EXACT, Switches, switches
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

CPU = torch.device("cpu")
OPERATORS = {
    "flash": "aten::_scaled_dot_product_flash_attention_for_cpu",
    "math": "aten::_scaled_dot_product_attention_math",
}
"""What a CPU has."""
MEASURED = {"flash": {"flash": 1.0, "math": 2.0}, "math": {"flash": 2.0, "math": 1.0}}
"""Times that make one of them the fastest."""
SAMPLER = SamplerConfig(num_steps=2, dit_steps=2)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return random_engine("tiny", "cpu", torch.float32, seed=3)


def operators(call) -> set[str]:
    """Kernels of attention that a call runs."""
    with profile() as recorded:
        call()
    ran = {event.key for event in recorded.key_averages()}
    return {name for name, operator in OPERATORS.items() if operator in ran}


def picked(
    engine: Engine, chosen: Switches, measured: Mapping[str, float], patch: pytest.MonkeyPatch
) -> Session:
    patch.setattr(guidance, "pick_kernels", lambda **_: AttentionKernels(measured))
    return Session(engine, SAMPLER, switches=chosen)


def observe(session: Session) -> set[str]:
    """Kernels that a pass of the transformer runs."""
    latents, y = torch.zeros(1, 16, 1, 12, 20), torch.zeros(1, 20, 1, 12, 20)
    session.reset()
    with torch.no_grad():
        return operators(lambda: session._branches.observe(0, latents, y))


@pytest.mark.parametrize("name", MEASURED)
def test_the_transformer_runs_the_kernel_that_was_fastest_and_its_answers_stay(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding is merged, so that some calls have a bias. Others are left to torch's own choice."""
    chosen = switches(["batch_guidance", "merge_padding", "pick_attention"])
    session = picked(engine, chosen, MEASURED[name], monkeypatch)
    assert_equal(roll(session, inputs(engine.config)), roll(Session(engine, SAMPLER), inputs(engine.config)))
    assert observe(session) == {name}
    assert operators(lambda: attend(*torch.zeros(3, 1, 2, 1, 8).unbind())) == {"flash"}


@pytest.mark.slow
def test_compiled_blocks_run_the_chosen_kernel_and_are_compiled_no_more(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they were compiled for another choice before; the plain kernel becomes matrix products."""
    calls = inputs(engine.config)[:1]
    truth = roll(Session(engine, SAMPLER), calls)
    compiled = Switches(pick_attention=True, compile=True)
    sessions = [picked(engine, compiled, measured, monkeypatch) for measured in MEASURED.values()]
    for session in sessions:
        assert_equal(roll(session, calls), truth)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert [observe(session) for session in sessions] == [{"flash"}, set()]


def test_every_kernel_of_the_device_is_timed_and_told_in_words(engine: Engine) -> None:
    """Which one is faster, tests do not say."""
    kernels = pick_kernels(2, 145, 565, 3, 32, CPU, torch.float32)
    assert kernels.measured_ms.keys() == {"flash", "math"}
    assert all(ms > 0 for ms in kernels.measured_ms.values())
    assert re.fullmatch(r"(flash|math) \S+ ms \((flash|math) \S+ ms\)", kernels.in_words())
    session = Session(engine, SAMPLER, switches=switches(["pick_attention"]))
    assert re.fullmatch(r"pick_attention; attention: (flash|math) .* ms\)", session.speedups)
    assert Session(engine, SAMPLER, switches=EXACT).speedups.endswith("fuse_observation")
    assert Session(engine, SAMPLER, switches=EAGER).speedups == "none"


def test_kernels_are_preferred_by_their_time_down_to_the_one_that_can_do_all() -> None:
    kernels = AttentionKernels({"cudnn": 3.1, "flash": 2.9, "efficient": 14.0, "math": 12.4})
    assert kernels.order == ("flash", "cudnn", "math")
    assert kernels.in_words() == "flash 2.9 ms (cudnn 3.1 ms, math 12.4 ms, efficient 14 ms)"
    assert AttentionKernels({"cudnn": 1.0}).order == ("cudnn", "math")
    assert AttentionKernels({"cudnn": 1.0}).in_words() == "cudnn 1 ms"
