# SPDX-License-Identifier: Apache-2.0
"""Linear layers in fewer bits: stated errors over a closed loop, honest refusals, nothing done silently."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rollouts import Rollout, inputs, relative_errors, roll
from torch import Tensor, nn
from torch.nn import functional as F

from dreamzero_ros.engine.config import FORMATS, LinearFormat, SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.linear_format import (
    CONVERTED,
    converter,
    formats_in_words,
    stored_bytes,
)
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.switches import EAGER, EXACT, Switches, switches
from dreamzero_ros.engine.weights import load_engine, random_engine, save_checkpoint

pytestmark = pytest.mark.cpu

torchao = pytest.importorskip("torchao", reason="torchao is not installed: requirements/torchao.txt")

SAMPLERS = {"all steps": SamplerConfig(dit_steps=16), "8 of 16 steps": SamplerConfig(dit_steps=8)}

BOUNDS = {"fp8_weights": (0.01, 0.03), "fp8": (0.015, 0.04), "nvfp4": (0.05, 0.12)}
"""Largest relative errors of actions and of dreamed latents, as docs/performance.md states them."""
LEAST = 1e-4
"""Below it, nothing was converted."""


def rolled(engine: Engine, sampler: str, chosen: Switches = EAGER) -> Rollout:
    return roll(Session(engine, SAMPLERS[sampler], switches=chosen), inputs(engine.config))


def tiny(linear_format: LinearFormat = "native", dtype: torch.dtype = torch.float32) -> Engine:
    return random_engine("tiny", "cpu", dtype, seed=3, linear_format=linear_format)


@pytest.fixture(scope="module")
def truth() -> Callable[[str], Rollout]:
    """What native layers answer, by sampler."""
    return functools.cache(lambda sampler: rolled(tiny(), sampler))


def assert_within_bounds(actual: Rollout, expected: Rollout, bounds: tuple[float, float]) -> None:
    for error, bound in zip(relative_errors(actual, expected), bounds, strict=True):
        assert LEAST < error < bound


@pytest.mark.parametrize(
    ("linear_format", "sampler", "chosen"),
    [
        pytest.param(
            linear_format,
            sampler,
            chosen,
            id=f"{linear_format}-{sampler}-{name}",
            marks=() if (sampler, name) == ("8 of 16 steps", "exact") else pytest.mark.slow,
        )
        for linear_format in ("fp8_weights", "fp8")
        for sampler in SAMPLERS
        for name, chosen in (("eager", EAGER), ("exact", EXACT))
    ],
)
def test_the_error_over_a_closed_loop_is_as_stated(
    truth, sampler: str, linear_format: LinearFormat, chosen: Switches
) -> None:
    """The arithmetic is the real one: torch multiplies float8 on a CPU, too."""
    actual = rolled(tiny(linear_format), sampler, chosen)
    assert_within_bounds(actual, truth(sampler), BOUNDS[linear_format])


@pytest.mark.parametrize("sampler", [pytest.param("all steps", marks=pytest.mark.slow), "8 of 16 steps"])
def test_in_four_bits_the_error_is_as_stated(truth, sampler: str) -> None:
    """Blackwell alone multiplies float4: here operands are rounded by torchao and multiplied as float32."""
    from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale

    def rounded(x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        scale = per_tensor_amax_to_scale(flat.abs().max())
        return NVFP4Tensor.to_nvfp4(flat, per_tensor_scale=scale).dequantize(x.dtype).reshape(x.shape)

    engine = tiny()
    for name, weight in engine.transformer.named_parameters():
        if CONVERTED.fullmatch(name):
            layer = engine.transformer.get_submodule(name.removesuffix(".weight"))
            layer.weight = nn.Parameter(rounded(weight), requires_grad=False)
            layer.register_forward_pre_hook(lambda _, args: (rounded(args[0]),))
    assert_within_bounds(rolled(engine, sampler), truth(sampler), BOUNDS["nvfp4"])


@pytest.mark.slow
def test_compiled_blocks_know_converted_layers(truth) -> None:
    compiled = rolled(tiny("fp8"), "8 of 16 steps", switches(["compile"]))
    assert_within_bounds(compiled, truth("8 of 16 steps"), BOUNDS["fp8"])


def test_what_is_converted_is_counted_and_the_rest_stays() -> None:
    native, converted = tiny(), tiny("fp8")
    layers = native.config.transformer.num_layers
    total = sum(isinstance(module, nn.Linear) for module in native.transformer.modules())
    count = 7 * layers
    assert formats_in_words(native.transformer) == f"{total} x float32"
    assert formats_in_words(converted.transformer) == f"{count} x Float8Tensor, {total - count} x float32"
    for (name, before), (_, after) in zip(
        native.transformer.named_parameters(), converted.transformer.named_parameters(), strict=True
    ):
        if CONVERTED.fullmatch(name):
            assert stored_bytes(after) == before.numel() + 4 * before.shape[0]
        else:
            assert torch.equal(before, after)


def test_a_token_of_zeros_stays_one() -> None:
    weight = converter("fp8", torch.device("cpu"), torch.float32)(torch.randn(32, 16))
    x = torch.cat([torch.zeros(1, 16), torch.randn(1, 16)])
    out = F.linear(x, weight)
    assert torch.equal(out[0], torch.zeros(32)) and out[1].abs().max() > 0


def test_a_checkpoint_is_converted_as_it_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "weights")
    loaded = load_engine(tmp_path / "weights", "cpu", torch.float32, linear_format="fp8")
    expected = tiny("fp8")
    for got, wanted in zip(loaded.transformer.parameters(), expected.transformer.parameters(), strict=True):
        if type(wanted.data) is Tensor:
            assert torch.equal(got, wanted)
        else:
            assert torch.equal(got.qdata, wanted.qdata) and torch.equal(got.scale, wanted.scale)


def test_converted_weights_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected native weights .* got linear_format 'fp8'"):
        save_checkpoint(tiny("fp8"), tmp_path / "weights")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("linear_format", "capability", "words"),
    [
        ("nvfp4", (9, 0), r"'nvfp4' needs a CUDA device of compute capability 10\.0, cuda has 9\.0; choose"),
        ("fp8", (8, 6), r"'fp8' needs a CUDA device of compute capability 8\.9, cuda has 8\.6; choose"),
    ],
)
def test_a_device_that_cannot_is_refused(
    monkeypatch: pytest.MonkeyPatch, linear_format: LinearFormat, capability: tuple[int, int], words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    with pytest.raises(ValueError, match=words):
        converter(linear_format, torch.device("cuda"), torch.bfloat16)


def test_a_cpu_is_refused_for_four_bits() -> None:
    with pytest.raises(ValueError, match=r"compute capability 10\.0, this is cpu; choose 'fp8_weights'"):
        tiny("nvfp4")


def test_on_a_gpu_the_rest_must_be_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    converter("fp8", torch.device("cuda"), torch.bfloat16)
    with pytest.raises(ValueError, match=r"'fp8' needs bfloat16 .*, got torch\.float32"):
        converter("fp8", torch.device("cuda"), torch.float32)


@pytest.mark.parametrize("linear_format", FORMATS)
def test_without_torchao_only_native_works(
    monkeypatch: pytest.MonkeyPatch, linear_format: LinearFormat
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchao", None)
    if linear_format == "native":
        assert tiny().linear_format == "native"
        return
    with pytest.raises(ValueError, match=r"needs torchao .*pip install -r requirements/torchao\.txt, or"):
        tiny(linear_format)


def test_bounds_are_stated() -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    for linear_format, bounds in BOUNDS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{linear_format}` |"))
        assert all(f"{100 * bound:g} %" in row for bound in bounds), row
