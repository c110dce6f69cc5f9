# SPDX-License-Identifier: Apache-2.0
"""Whether the engine is right on a device: against recorded vectors, float64, float32 and a CPU.

Errors are relative, in the Frobenius norm over all calls. What rounds otherwise than the plain engine may be
as far from the truth as the plain engine is, times `ROUNDINGS`; nothing is compared with a bound that was
found by trying.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import sdpa_kernel

from dreamzero_ros.bench.gpu.goldens import goldens_folder
from dreamzero_ros.bench.gpu.recording import OperatorRecorder
from dreamzero_ros.bench.gpu.reference import (
    read_config,
    read_vectors,
    recorded_engine,
    recorded_noise,
    recorded_sampler,
    recorded_transformer,
)
from dreamzero_ros.bench.gpu.results import ROUNDINGS, Check, NotHereError, Part, Result
from dreamzero_ros.bench.gpu.sizes import Sizes
from dreamzero_ros.engine.attention import attend
from dreamzero_ros.engine.attention_kernels import KERNELS
from dreamzero_ros.engine.bench import PROMPT, random_inputs
from dreamzero_ros.engine.config import ModelConfig, SamplerConfig
from dreamzero_ros.engine.encoders import RandomText
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.float8_cache import narrow, widen
from dreamzero_ros.engine.graphs import Recorder
from dreamzero_ros.engine.linear_format import converter
from dreamzero_ros.engine.session import Noise, Session
from dreamzero_ros.engine.switches import EAGER, EXACT, FULL, Switches
from dreamzero_ros.engine.weights import random_engine

BF16_ROUNDING = 2.0**-8
"""Largest relative error of rounding to bfloat16."""
FLOAT8_ROUNDING = 2.0**-4
"""Largest relative error of rounding to float8 e4m3, of numbers that are not tiny."""
FLOAT8_STEP = 2.0**-10
"""Largest error of rounding a tiny number to float8 e4m3, in scales."""

CPU = torch.device("cpu")
IMAGES_PER_CALL = (1, 4, 1)
"""Two calls in one window, and one that begins the next, in which recorded passes are replayed."""
PLAIN_TWICE = f"{ROUNDINGS:g} x the plain engine's error"
COLUMNS = ("what", "error", "bound", "right")

Network = TypeVar("Network", bound=nn.Module)

Answers = tuple[Tensor, Tensor]
"""All actions and all dreamed latents of a rollout, flat."""


def correctness(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """Measure how far the device is from the truth, most telling first.

    Args:
        device: Where everything runs.
        sizes: How large it is.
    """
    yield Part("recorded vectors in float32", lambda: recorded_vectors(device, sizes))
    yield Part("speed-ups against the plain engine in float32", lambda: speedups_in_float32(device, sizes))
    yield Part("kernels of attention in bfloat16", lambda: attention(device, sizes.checked))
    yield Part("products in fp8", lambda: fp8_products(device, sizes.checked))
    yield Part("bfloat16 and the float8 cache against a CPU", lambda: against_cpu(device, sizes))
    yield Part(
        f"{sizes.checked.transformer.num_layers} layers as wide as those of {sizes.checked.name}, bfloat16",
        lambda: large_in_bfloat16(device, sizes),
    )


def recorded_vectors(device: torch.device, sizes: Sizes) -> Result:
    """Repeat the recorded loops; the reference's own distance from float64 is the measure."""
    folder = goldens_folder()
    if not folder.is_dir():
        raise NotHereError(f"needs the recorded vectors of a checkout, which are not in {folder}")
    config = read_config(folder)
    scenarios = [name for name in config["scenarios"] if (folder / f"loop_{name}.npz").exists()]
    checks = []
    for scenario in scenarios[: sizes.scenarios]:
        sampler = recorded_sampler(config, **config["scenarios"][scenario])
        truth = _recorded_loop(device, torch.float64, sampler, EAGER)
        recorded = read_vectors(folder, f"loop_{scenario}", device)
        calls = range(sum(name.endswith(".action_pred") for name in recorded))
        reference = _joined(
            [(recorded[f"call{call}.action_pred"], recorded[f"call{call}.video_pred"]) for call in calls]
        )
        bound = ROUNDINGS * max(_errors(reference, truth))
        for name, switches in (("plain", EAGER), ("exact", EXACT), ("graphs", replace(EXACT, graphs=True))):
            answers = _recorded_loop(device, torch.float32, sampler, switches)
            error = max(_errors(answers, truth))
            checks.append(
                Check(f"{scenario}, {name}", error, bound, f"{ROUNDINGS:g} x the recorded vectors' error")
            )
    return _table("errors against the same loops in float64", checks)


def speedups_in_float32(device: torch.device, sizes: Sizes) -> Result:
    """Compare speed-ups with the plain engine, by float64; compiled blocks and graphs where they can be."""
    with full_float32():
        engine = random_engine("tiny", device, torch.float32, seed=3)
        sampler, noise = _few_steps(), _noise(engine.config)
        truth = _answers(retyped(engine, device, torch.float64), sampler, noise)
        plain = _errors(_answers(engine, sampler, noise), truth)
        kinds = {"exact": EXACT, "exact, graphs": replace(EXACT, graphs=True)}
        if sizes.compile:
            full = replace(FULL, trim_guidance=False)
            kinds["exact, compiled"] = full
            if device.type == "cuda":  # the stand-in for graphs does not see into compiled blocks
                kinds["exact, compiled, graphs"] = replace(full, graphs=True)
        checks = [
            check
            for name, switches in kinds.items()
            for check in _compared(
                name, _answers(engine, sampler, noise, switches), truth, plain, PLAIN_TWICE
            )
        ]
    result = _table("errors against the plain engine in float64", checks)
    if device.type != "cuda":
        result.notes.append("graphs: by a stand-in that repeats operators, as this is no CUDA device")
    return result


def attention(device: torch.device, config: ModelConfig) -> Result:
    """Compare each kernel with float64 at the sizes of a session, element by element.

    A kernel may round the weights of the values once, and the result once.
    """
    sizes = config.transformer
    tokens = sizes.num_frame_per_block * config.tokens_per_frame
    others = sizes.num_action_per_block + sizes.num_state_per_block
    queries, keys = tokens + others, sizes.window_frames * config.tokens_per_frame + others
    heads = min(sizes.num_heads, 4)  # float64 holds all weights of all heads
    generator = torch.Generator(device).manual_seed(0)
    q, k, v = (
        torch.randn(1, rows, heads, sizes.head_dim, device=device, generator=generator).bfloat16()
        for rows in (queries, keys, keys)
    )
    with sdpa_kernel(KERNELS["math"]):
        truth = attend(q.double(), k.double(), v.double())
        bound = BF16_ROUNDING * (attend(q.double(), k.double(), v.double().abs()) + truth.abs())
    result = Result(f"{queries} queries, {keys} keys, {heads} heads of {sizes.head_dim}", COLUMNS)
    checks = []
    for name, backend in KERNELS.items():
        try:
            with sdpa_kernel(backend):
                got = attend(q, k, v)
        except RuntimeError as error:
            result.notes.append(f"{name}: not on this device ({str(error).splitlines()[0]})")
            continue
        worst = float(((got.double() - truth).abs() / bound).max())
        checks.append(Check(name, worst, 1.0, "largest error of an element, as a share of its two roundings"))
    return _table(result.title, checks, result.notes)


def fp8_products(device: torch.device, config: ModelConfig) -> Result:
    """Compare products in fp8 with float64, at the sizes of the large layers.

    The device may add as much to the error of the format as the format has: that is what the same operands,
    rounded as the format rounds them, make in float64.
    """
    sizes = config.transformer
    rows = 2 * (sizes.num_frame_per_block * config.tokens_per_frame + sizes.num_action_per_block)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    convert = _converter(device, dtype)
    generator = torch.Generator(device).manual_seed(0)
    checks = []
    for inputs, outputs in (
        (sizes.dim, sizes.dim),
        (sizes.dim, sizes.ffn_dim),
        (sizes.ffn_dim, sizes.dim),
    ):
        x, weight = (
            torch.randn(count, inputs, device=device, generator=generator).to(dtype)
            for count in (rows, outputs)
        )
        truth = F.linear(x.double(), weight.double())
        rounded = F.linear(_as_float8(x), _as_float8(weight))
        bound = ROUNDINGS * _error(rounded, truth)
        got = F.linear(x, convert(weight))
        checks.append(
            Check(
                f"{rows} x {inputs} x {outputs}",
                _error(got, truth),
                bound,
                f"{ROUNDINGS:g} x the format's error",
            )
        )
    return _table("errors against float64", checks)


def against_cpu(device: torch.device, sizes: Sizes) -> Result:
    """Compare what rounds on the device with what the same rounds on a CPU, by float32."""
    checks = [numbers_in_float8(device)]
    with full_float32():
        engine = random_engine("tiny", device, torch.float32, seed=3)
        sampler, noise = _few_steps(), _noise(engine.config)
        truth = _answers(engine, sampler, noise)
        for name, dtype, switches in (
            ("bfloat16", torch.bfloat16, EAGER),
            ("float8 cache", torch.float32, Switches(float8_cache=True)),
        ):
            on_cpu = _errors(_answers(retyped(engine, CPU, dtype), sampler, noise, switches), truth)
            here = _answers(retyped(engine, device, dtype), sampler, noise, switches)
            checks += _compared(name, here, truth, on_cpu, f"{ROUNDINGS:g} x the error on a CPU")
    result = _table("errors of tiny against float32", checks)
    if device.type == "cpu":
        result.notes.append("this is a CPU: it was compared with itself")
    return result


def numbers_in_float8(device: torch.device) -> Check:
    """Compare numbers of all sizes, stored as the float8 cache stores them, with themselves."""
    x = 10 ** torch.linspace(-3, 3, 4096, device=device)[:, None] * torch.randn(4096, 128, device=device)
    stored, scale = narrow(x)
    of_format = torch.maximum(FLOAT8_ROUNDING * x.abs(), FLOAT8_STEP * scale)
    allowed = of_format * (1 + 2**-20)  # and float32's own
    worst = float(((widen(stored, scale, torch.float32) - x).abs() / allowed).max())
    return Check("numbers in float8", worst, 1.0, "largest error, as a share of the format's rounding")


def large_in_bfloat16(device: torch.device, sizes: Sizes) -> Result:
    """Compare speed-ups in bfloat16 at the width of the large model with the plain engine, by float32."""
    with full_float32():
        engine = random_engine(sizes.checked, device, torch.float32, random_text=True)
        sampler, noise = _few_steps(), _noise(engine.config)
        truth = _answers(engine, sampler, noise)
    engine = retyped(engine, device, torch.bfloat16)
    plain = _errors(_answers(engine, sampler, noise), truth)
    kinds = {"exact": EXACT, "exact, attention picked": replace(EXACT, pick_attention=True)}
    if sizes.compile:
        kinds["full"] = FULL
    if device.type == "cuda":
        kinds["full, graphs"] = replace(FULL, graphs=True)
    checks = []
    for name, switches in kinds.items():
        answers = _answers(engine, sampler, noise, switches)
        checks += _compared(name, answers, truth, plain, PLAIN_TWICE, with_video=not switches.trim_guidance)
    measure = f"the plain engine's error: actions {plain[0]:.2g}, video {plain[1]:.2g}"
    return _table("errors against the plain engine in float32", checks, [measure])


@contextmanager
def full_float32() -> Iterator[None]:
    """Let float32 be float32 in convolutions too, for which CUDA takes fewer bits by default."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def retyped(engine: Engine, device: torch.device, dtype: torch.dtype) -> Engine:
    """Return a copy of an engine elsewhere or in another type; constants keep their own type."""

    def moved(module: Network) -> Network:
        module = copy.deepcopy(module).to(device)
        for parameter in module.parameters():
            parameter.data = parameter.data.to(dtype)
        return module

    text = moved(engine.text_encoder)
    if isinstance(text, RandomText):
        text.dtype = dtype
    return replace(
        engine,
        transformer=moved(engine.transformer),
        text_encoder=text,
        image_encoder=moved(engine.image_encoder),
        vae=moved(engine.vae),
        device=device,
        dtype=dtype,
    )


def _few_steps() -> SamplerConfig:
    return SamplerConfig(num_steps=2, dit_steps=2)


def _noise(config: ModelConfig) -> Noise:
    """Draw noise that is the same on all devices."""
    sizes = config.transformer
    generator = torch.Generator().manual_seed(0)
    video = (1, config.vae.z_dim, sizes.num_frame_per_block, *config.latent_size)
    action = (1, sizes.num_action_per_block, sizes.action_dim)
    return Noise(*(torch.randn(shape, generator=generator) for shape in (video, action)))


def _answers(engine: Engine, sampler: SamplerConfig, noise: Noise, switches: Switches = EAGER) -> Answers:
    """Answer the calls of a window and the first one of the next."""
    noise = Noise(*(x.to(engine.device, engine.dtype) for x in (noise.video, noise.action)))
    session = Session(
        engine, sampler, noise=noise, switches=switches, recorder=_recorder(engine.device, switches)
    )
    results = []
    for call, images in enumerate(IMAGES_PER_CALL):
        result = session.step(*random_inputs(engine.config, images, call), PROMPT)
        results.append((result.actions, result.video))
    return _joined(results)


def _recorded_loop(
    device: torch.device, dtype: torch.dtype, sampler: SamplerConfig, switches: Switches
) -> Answers:
    """Repeat a recorded loop."""
    folder = goldens_folder()
    engine = recorded_engine(folder, recorded_transformer(folder), device, dtype)
    batch = len(engine.of_call("images"))
    noise = recorded_noise(engine.inputs)
    session = Session(engine, sampler, batch, noise, switches, recorder=_recorder(device, switches))
    results = []
    with full_float32():
        for call in range(engine.calls):
            engine.call = call
            ids = engine.inputs[f"ids{engine.of_call('prompt_index')}"]
            result = session.step(engine.of_call("images"), engine.of_call("state"), ids)
            results.append((result.actions, result.video))
    return _joined(results)


def _recorder(device: torch.device, switches: Switches) -> Recorder | None:
    """Record with the stand-in where there are no CUDA graphs."""
    return OperatorRecorder() if switches.graphs and device.type != "cuda" else None


def _converter(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    try:
        return converter("fp8", device, dtype)
    except ValueError as error:
        raise NotHereError(str(error)) from error


def _as_float8(x: Tensor) -> Tensor:
    """Round rows (R, C) as the format does, to float64."""
    stored, scale = narrow(x)
    return stored.double() * scale.double()


def _joined(results: list[tuple[Tensor, Tensor]]) -> Answers:
    actions, video = (
        torch.cat([x.flatten().double().cpu() for x in kind]) for kind in zip(*results, strict=True)
    )
    return actions, video


def _error(got: Tensor, truth: Tensor) -> float:
    return float((got.double() - truth.double()).norm() / truth.double().norm())


def _errors(got: Answers, truth: Answers) -> tuple[float, float]:
    """Errors of the actions and of the dreamed latents."""
    return _error(got[0], truth[0]), _error(got[1], truth[1])


def _compared(
    name: str, got: Answers, truth: Answers, measure: tuple[float, float], why: str, with_video: bool = True
) -> list[Check]:
    """Compare actions and dreamed latents with errors that are known."""
    pairs = zip(("actions", "video")[: 1 + with_video], _errors(got, truth), measure, strict=False)
    return [Check(f"{name}, {what}", error, ROUNDINGS * known, why) for what, error, known in pairs]


def _table(title: str, checks: list[Check], notes: list[str] | None = None) -> Result:
    rows: list[Sequence[str]] = [
        (check.what, f"{check.error:.2g}", f"{check.bound:.2g}", "yes" if check.right else "NO")
        for check in checks
    ]
    reasons = [f"bound: {why}" for why in dict.fromkeys(check.why for check in checks)]
    return Result(title, COLUMNS, rows, [*(notes or []), *reasons], checks)
