# SPDX-License-Identifier: Apache-2.0
"""Times the engine with random weights: one choice of switches, or a ladder that turns them on one by one.

The first windows warm up and are not counted. Every rung of a ladder answers the same images, so that its
error against the plain engine is measured along with its time. On a CPU the rungs take turns, window by
window, so that their ratios hold on a busy machine, too.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dreamzero_ros.engine.bench_report import Rung, resident_peak_mb, rung_report
from dreamzero_ros.engine.config import FORMATS, VARIANTS, LinearFormat, ModelConfig, SamplerConfig, variant
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.flops import measured_peak_flops
from dreamzero_ros.engine.lookahead import IMAGES_AHEAD
from dreamzero_ros.engine.rank_processes import RankProcesses, Work, patience_s
from dreamzero_ros.engine.running_session import OpenSession, RunningSession
from dreamzero_ros.engine.session import Session, guidance_scale
from dreamzero_ros.engine.sharing import Sharing, parse_devices, require_present, share_work
from dreamzero_ros.engine.stepcache import STEP_MASKS
from dreamzero_ros.engine.switches import EAGER, FULL, NAMES, PRESETS, Switches, parse_switches, switches
from dreamzero_ros.engine.weights import meta_engine, random_engine

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LARGEST = "wan21_14b"
"""Variant whose construction without memory is timed in every run."""

IMAGES_PER_CALL = 4
PROMPT = "A multi-view video shows that a robot puts the cup on the plate. It has three views of one scene."
NEGATIVE_PROMPT = (
    "Vibrant colors, overexposed, static, blurry details, text, subtitles, style, artwork, painting, still"
)
"""Texts with as many bytes as the usual ones have tokens: models without a vocabulary count bytes."""


@dataclass(frozen=True)
class Call:
    """One measured chunk."""

    begins: bool
    """Whether it began a window."""
    stored_frames: int
    """Latent frames in the cache when it began."""
    computed: int
    """Solver steps that ran the transformer."""
    stages_s: Mapping[str, float]
    """Time by stage [s]; `chunk` is the whole call, from images and state on the host to actions there;
    `decode` the dreamed video, which is not part of it."""
    actions: Tensor
    video: Tensor


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    name: str
    switches: Switches
    ahead: bool = False
    """Whether images are encoded as they arrive, before the call that brings them."""
    linear_format: LinearFormat = "native"
    """How the large linear layers are stored and multiplied."""


@dataclass
class Timed:
    """A session under measurement."""

    setting: Setting
    session: RunningSession
    calls: list[Call] = field(default_factory=list)
    memory_mb: float = 0.0
    speedups: str = ""
    """In the words of the session."""


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Run the calls; returns what was measured, times in seconds.

    Args:
        options: What `add_arguments` defines.

    Raises:
        ValueError: If the devices cannot share the work, or a ladder is asked for on several.
        RankError: If one of several devices fails.
    """
    meta = _measure_meta()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    sharing, chosen = _sharing(options), sampler(options.steps)
    device = sharing.devices[0]
    timed, peaks = _run_all(options, sharing)
    config = variant(options.variant)
    gpus = len(sharing.devices) if device.type == "cuda" else 1
    truth = timed[0] if timed[0].setting.switches == EAGER else None
    return {
        "variant": options.variant,
        "device": _device_name(device),
        "devices": len(sharing.devices),
        "sharing": sharing.in_words(),
        "dtype": options.dtype,
        "linear_format": options.linear_format,
        "steps": options.steps,
        "calls": options.calls,
        "peak_tflops": {name: round(peak / 1e12, 3) for name, peak in peaks.items()},
        "rungs": [
            rung_report(config, chosen, _as_rung(one, truth), gpus * peaks[one.setting.linear_format])
            for one in timed
        ],
        "memory_of": "device" if device.type == "cuda" else "process",
        "meta": meta,
    }


def _run_all(options: argparse.Namespace, sharing: Sharing) -> tuple[list[Timed], dict[LinearFormat, float]]:
    """Measure every rung, and the peak of one device in every linear format [operations per second]."""
    told = {
        name: getattr(options, name) for name in ("variant", "dtype", "steps", "switches", "linear_format")
    }
    device = sharing.devices[0]
    rungs = [Setting("", parse_switches(options.switches), options.ahead, options.linear_format)]
    if options.ladder:
        rungs = ladder(device, options.linear_format)
    timed: list[Timed] = []
    peaks: dict[LinearFormat, float] = {}
    with ExitStack() as stack:
        open_session: OpenSession = Session
        if len(sharing.devices) > 1:
            others = RankProcesses(sharing, make_work, told, patience_s(parse_switches(options.switches)))
            stack.callback(others.close)
            open_session = others.open_session
        for linear_format in dict.fromkeys(rung.linear_format for rung in rungs):
            work = make_work(str(device), **{**told, "linear_format": linear_format})
            group = [rung for rung in rungs if rung.linear_format == linear_format]
            timed += run(work.engine, work.sampler, group, options.calls, options.warm_up, open_session)
            peaks[linear_format] = measured_peak_flops(device, work.engine.dtype, linear_format)
            del work  # before there is another one
            gc.collect()
    return timed, peaks


def make_work(
    device: str, variant: str, dtype: str, steps: str, switches: str, linear_format: LinearFormat
) -> Work:
    """Make what is measured, on this device; all other arguments are options of the bench."""
    engine = random_engine(variant, device, DTYPES[dtype], linear_format=linear_format)
    return Work(engine, sampler(steps), parse_switches(switches))


def run(
    engine: Engine,
    chosen: SamplerConfig,
    rungs: Sequence[Setting],
    calls: int,
    warm_up: int,
    open_session: OpenSession = Session,
    window: int | None = None,
) -> list[Timed]:
    """Answer the same calls with every choice of switches.

    Args:
        engine: The weights.
        chosen: The sampler.
        rungs: What is measured.
        calls: Measured chunks of each.
        warm_up: Windows that are not counted.
        open_session: Opens each session.
        window: Calls after which a new window begins; by default it is filled.
    """
    window = window or engine.config.transformer.max_chunk_size
    turns = [range(first, min(first + window, calls)) for first in range(0, calls, window)]
    done: list[Timed] = []
    together = [rungs] if engine.device.type == "cpu" else [[rung] for rung in rungs]
    for group in together:
        timed = [Timed(rung, open_session(engine, chosen, switches=rung.switches)) for rung in group]
        _clear_peak(engine.device)
        for one in timed:
            for _ in range(warm_up):
                one.session.reset()
                for _ in range(window):
                    _call(one, engine, seed=0)
        for numbers in turns:
            for one in timed:
                one.session.reset()
                one.calls += [_call(one, engine, seed=1 + number) for number in numbers]
        for one in timed:
            one.memory_mb = _peak_memory_mb(engine.device)
            one.speedups = one.session.speedups
            one.session.close()
        done += timed
        if engine.device.type == "cuda":
            del timed[0].session
            gc.collect()
    return done


def sampler(steps: str) -> SamplerConfig:
    """Return the sampler that runs the transformer so many times per chunk.

    For the numbers that have a mask, and for `dynamic`, it takes the usual steps and reuses flows in some;
    for any other number it takes that many steps and computes each.
    """
    if steps == "dynamic":
        return SamplerConfig(dit_steps="dynamic", negative_prompt=NEGATIVE_PROMPT)
    count = int(steps)
    num_steps = 16 if count in STEP_MASKS else count
    return SamplerConfig(num_steps=num_steps, dit_steps=count, negative_prompt=NEGATIVE_PROMPT)


def ladder(device: torch.device, linear_format: LinearFormat = "native") -> list[Setting]:
    """Return the rungs: the plain engine, one more switch on each, then images encoded as they arrive.

    At last comes what is not exact: the linear format, if it is another one, and stored keys and values in
    float8.

    Args:
        device: Where it will run; graphs are for GPUs.
        linear_format: Format of the large linear layers on the last rungs.
    """
    exact = [name for name in NAMES if getattr(FULL, name) or (name == "graphs" and device.type == "cuda")]
    rungs = [Setting("eager", EAGER)]
    rungs += [Setting(f"+ {name}", switches(exact[: number + 1])) for number, name in enumerate(exact)]
    everything = rungs[-1].switches
    rungs.append(Setting("+ images ahead", everything, ahead=True))
    if linear_format != "native":
        rungs.append(Setting(f"+ {linear_format} layers", everything, True, linear_format))
    return [*rungs, Setting("+ float8_cache", replace(everything, float8_cache=True), True, linear_format)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `measure`."""
    parser.add_argument("--variant", choices=VARIANTS, default="tiny")
    parser.add_argument(
        "--device",
        default="cpu",
        help="as in torch: cpu, cuda, cuda:1; several with commas share a session",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--steps", default="8", help="transformer runs per chunk, or dynamic")
    parser.add_argument("--calls", type=int, default=8, help="measured chunks")
    parser.add_argument("--warm-up", type=int, default=1, help="windows of four chunks before them")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; its own choice by default")
    parser.add_argument(
        "--switches",
        default="exact",
        help=f"speed-ups, with commas: {', '.join(PRESETS)}, {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--ahead", action="store_true", help="encode images as they arrive, before the measured call"
    )
    parser.add_argument(
        "--linear-format", choices=FORMATS, default="native", help="of the transformer's large layers"
    )
    parser.add_argument("--ladder", action="store_true", help="turn the switches on one after the other")


def _sharing(options: argparse.Namespace) -> Sharing:
    devices = parse_devices(options.device)
    try:
        require_present(devices)
    except ValueError as error:
        raise ValueError(f"--device: {error}; for the CPU: --device cpu") from error
    if options.ladder and len(devices) > 1:
        raise ValueError(
            f"--ladder: expected one device, got {options.device}; measure --switches one by one"
        )
    guided = guidance_scale(sampler(options.steps), parse_switches(options.switches)) != 1
    return share_work(devices, guided, variant(options.variant).transformer.num_heads)


def _as_rung(timed: Timed, truth: Timed | None) -> Rung:
    error = None
    if truth is not None:
        pairs = list(zip(timed.calls, truth.calls, strict=True))
        error = tuple(
            max(float((getattr(call, what) - getattr(true, what)).abs().max()) for call, true in pairs)
            for what in ("actions", "video")
        )
    name, on = timed.setting.name, timed.setting.switches
    return Rung(name, on, timed.speedups, timed.calls, timed.memory_mb, error)


def _measure_meta() -> dict[str, float | str]:
    """Construct the largest variant without memory for its weights, first thing in the process."""
    start = time.perf_counter()
    meta_engine(LARGEST)
    seconds = time.perf_counter() - start
    return {"variant": LARGEST, "seconds": round(seconds, 3), "process_mb": round(resident_peak_mb())}


def _call(timed: Timed, engine: Engine, seed: int) -> Call:
    session = timed.session
    goes_on = 0 < session.next_frame < engine.config.transformer.window_frames
    images, state = random_inputs(engine.config, IMAGES_PER_CALL if goes_on else 1, seed)
    stored = session.context_frames if goes_on else 0
    if timed.setting.ahead and goes_on:
        session.look_ahead(images[:, :IMAGES_AHEAD])
    start = time.perf_counter()
    result = session.step(images, state, PROMPT)
    actions = result.actions.cpu()
    chunk = time.perf_counter() - start
    assert torch.isfinite(actions).all(), "random weights give finite results"
    start = time.perf_counter()
    session.decode(result.video).cpu()
    decode = time.perf_counter() - start
    stages = {**result.latency_s, "chunk": chunk, "decode": decode}
    return Call(result.reset, stored, sum(result.computed), stages, actions, result.video.cpu())


def random_inputs(config: ModelConfig, images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Canvases and state of a call."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, images, config.canvas_height, config.canvas_width, 3)
    sizes = config.transformer
    state = torch.rand(1, sizes.num_state_per_block, sizes.max_state_dim, generator=generator) * 2 - 1
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator), state


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def _clear_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory_mb(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else resident_peak_mb()
