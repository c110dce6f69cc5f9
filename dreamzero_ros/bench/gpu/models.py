# SPDX-License-Identifier: Apache-2.0
"""How fast a model answers: with all speed-ups and switch by switch, and where the time goes.

Weights and text embeddings are random, as no figure depends on them; weights are made on the device.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dreamzero_ros.bench.gpu.device import wait
from dreamzero_ros.bench.gpu.kernels import breakdown
from dreamzero_ros.bench.gpu.results import ROUNDINGS, Check, Goal, NotHereError, Part, Result
from dreamzero_ros.bench.gpu.sizes import Sizes
from dreamzero_ros.engine.bench import PROMPT, Call, Setting, Timed, ladder, random_inputs, run, sampler
from dreamzero_ros.engine.bench_report import rung_flops
from dreamzero_ros.engine.cache import ContextCache
from dreamzero_ros.engine.config import LinearFormat, SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.flops import measured_peak_flops
from dreamzero_ros.engine.linear_format import formats_in_words
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.weights import random_engine

GOALS = {("native", 8): 1.5, ("fp8", 4): 0.60, ("native", 1): 0.143, ("fp8", 1): 0.143}
"""Time of a chunk that continues a window, by linear format and transformer runs [s]: goals for the 14B model
on one H100 or H200."""
PUBLIC_BEST_S = 1.78
"""Time of a chunk of the 14B model with 8 steps on one such GPU, the best public figure [s]."""
GOAL_SHARE = 0.70
"""Part of the measured peak that the transformer should reach."""
WEIGHTS_S = 30.0
"""Time in which random weights should be made [s]."""
RUNG_WINDOW = 2
"""Calls of a window on the rungs of the ladder: one begins it, one continues it."""
ROUNDS = 3
"""Timed rounds of an encoder, of which the fastest counts."""
TWIN_KERNELS = {"cuda": [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], "cpu": [SDPBackend.MATH]}
"""Kernels of attention that the plain engine would not take by itself."""

COLUMNS = ("[s]", "begin", "continue", "denoise", "ratio", "TFLOP/s", "of peak", "GB", "differ")
"""Times of a chunk that begins a window, of one that continues it, and of denoising in the latter, then what
`LEGEND` says."""
LEGEND = (
    "ratio: to the plain engine's time; of peak: of what products of matrices reach; differ: distance of the "
    "actions from the plain engine's"
)
WHY_RIGHT = f"{ROUNDINGS:g} x what another kernel of attention makes"
"""Two right answers differ by the roundings of both, and so do those of two kernels."""
LADDER = "Switch by switch"


def large_model(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """Measure the large model in its own type: the headline figures first, at last switch by switch."""
    model = Model(device, sizes, sizes.large, "native")
    steps, few = sizes.steps
    yield Part("weights", model.made)
    yield Part("the plain engine", model.plain)
    yield Part(f"all speed-ups, {steps} steps", lambda: model.timed(steps, sizes.window))
    yield Part(f"all speed-ups, {few} steps", lambda: model.timed(few, RUNG_WINDOW))
    yield Part("all speed-ups, 1 step, trimmed", lambda: model.timed(1, RUNG_WINDOW))
    yield Part("where the time of a chunk goes", model.kernels)
    yield Part("what beginning a window costs", model.beginning)
    for rung in model.rungs[1:]:  # the plain engine was the first thing
        yield Part(rung.name, partial(model.rung, rung))


def large_model_fp8(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """Measure the large model with linear layers in fp8."""
    model = Model(device, sizes, sizes.large, "fp8")
    steps, few = sizes.steps
    yield Part("weights", model.made)
    yield Part(f"all speed-ups, {few} steps, fp8", lambda: model.timed(few, RUNG_WINDOW))
    yield Part(f"all speed-ups, {steps} steps, fp8", lambda: model.timed(steps, RUNG_WINDOW))
    yield Part("all speed-ups, 1 step, trimmed, fp8", lambda: model.timed(1, RUNG_WINDOW))
    yield Part("where the time of a chunk goes", model.kernels)


def second_model(device: torch.device, sizes: Sizes) -> Iterator[Part]:
    """Measure the 5B model."""
    model = Model(device, sizes, sizes.second, "native")
    yield Part("weights", model.made)
    yield Part("the plain engine", model.plain)
    yield Part(f"all speed-ups, {sizes.steps[0]} steps", lambda: model.timed(sizes.steps[0], RUNG_WINDOW))
    yield Part("what beginning a window costs", model.beginning)


class Model:
    """A model under measurement.

    Args:
        device: Where it runs.
        sizes: How much is measured.
        name: Its variant.
        linear_format: How the large linear layers are stored and multiplied.
    """

    def __init__(self, device: torch.device, sizes: Sizes, name: str, linear_format: LinearFormat) -> None:
        self.device = device
        self.sizes = sizes
        self.name = name
        self.linear_format = linear_format
        self._plain: Timed | None = None
        self._spread = 0.0
        self.rungs = [rung for rung in ladder(device) if sizes.compile_timed or not rung.switches.compile]
        last_exact = [rung for rung in self.rungs if not rung.switches.float8_cache][-1]
        self.all = replace(last_exact, name="all", ahead=True, linear_format=linear_format)
        """All speed-ups that leave the actions as they are; images are encoded as they arrive."""

    @cached_property
    def engine(self) -> Engine:
        """The model, made when it is first asked for."""
        try:
            return random_engine(
                self.name,
                self.device,
                self.sizes.dtype,
                linear_format=self.linear_format,
                random_text=True,
            )
        except ValueError as error:
            raise NotHereError(str(error)) from error

    @cached_property
    def peak(self) -> float:
        """What products of matrices reach here in this format [operations per second]."""
        return measured_peak_flops(self.device, self.sizes.dtype, self.linear_format)

    def made(self) -> Result:
        """Make the weights."""
        begin = time.perf_counter()
        engine = self.engine
        wait(self.device)
        taken = time.perf_counter() - begin
        held = torch.cuda.memory_allocated(self.device) / 1e9 if self.device.type == "cuda" else None
        words = f"{self.name}, {str(self.sizes.dtype).removeprefix('torch.')}, made in {taken:.1f} s"
        notes = [f"linear layers: {formats_in_words(engine.transformer)}"]
        if held is not None:
            notes.append(f"weights: {held:.1f} GB; random embeddings stand in for the text encoder")
        result = Result(words, notes=notes, figures={"seconds": taken, "weights_gb": held})
        if self.device.type == "cuda":
            result.goals.append(Goal(f"weights of {self.name} are made", taken, WEIGHTS_S, "s"))
        return result

    def plain(self) -> Result:
        """Time the plain engine, and tell how far it is from itself with another kernel of attention."""
        setting = replace(self.rungs[0], linear_format=self.linear_format)
        chosen = sampler(str(self.sizes.steps[0]))
        timed = self._run(chosen, setting, RUNG_WINDOW)
        with sdpa_kernel(TWIN_KERNELS[self.device.type]):
            twin = self._run(chosen, setting, RUNG_WINDOW, warm_up=0)
        self._plain, self._spread = timed, _difference(twin, timed)
        result = self._report(timed, chosen)
        words = f"with another kernel of attention, actions differ by {self._spread:.1e}: that is rounding"
        result.notes += [LEGEND, words]
        result.figures["spread"] = self._spread
        return result

    def timed(self, steps: int, window: int) -> Result:
        """Time all speed-ups with so many transformer runs per chunk."""
        chosen = sampler(str(steps))
        timed = self._run(chosen, self.all, window)
        result = self._report(timed, chosen)
        last = timed.calls[-1]
        if self.device.type == "cuda" and self.name == "wan21_14b":
            what = f"{steps} step{'s' * (steps > 1)}{', fp8' * (self.linear_format == 'fp8')}"
            seconds = last.stages_s["chunk"]
            if (self.linear_format, steps) in GOALS:
                result.goals.append(Goal(what, seconds, GOALS[self.linear_format, steps], "s"))
            if (self.linear_format, steps) == ("native", 8):
                result.goals.append(Goal("8 steps, best public figure", seconds, PUBLIC_BEST_S, "s"))
                share = result.figures["share_of_peak"]
                result.goals.append(Goal("transformer, of the measured peak", share, GOAL_SHARE, "", False))
        result.notes.append(f"speed-ups: {timed.speedups}")
        if self.device.type == "cuda":
            held = torch.cuda.max_memory_reserved(self.device) / 1e9
            result.notes.append(f"the process has taken {held:.1f} GB of the device, graphs and all")
        return result

    def rung(self, rung: Setting) -> Result:
        """Time one choice of switches."""
        chosen = sampler(str(self.sizes.steps[0]))
        timed = self._run(chosen, rung, RUNG_WINDOW)
        return replace(self._report(timed, chosen), title="one more switch on each", group=LADDER)

    def kernels(self) -> Result:
        """Profile a chunk that continues a window, with all speed-ups."""
        chosen = sampler(str(self.sizes.steps[0]))
        session = Session(self.engine, chosen, switches=self.all.switches)
        for images in (1, 4, 1):  # the second window replays what the first one compiled and recorded
            self._step(session, images)
        return breakdown(self.device, lambda: self._step(session, 4))

    def beginning(self) -> Result:
        """Time what a call does before it denoises, and count what it would need at the measured peak."""
        engine, config = self.engine, self.engine.config
        blank = config.num_frames if config.transformer.concat_first_frame_latent else 1
        of_call = 1 + config.vae.temporal_factor * config.transformer.num_frame_per_block
        one, clip, call = (
            torch.zeros(
                1, 3, images, config.model_height, config.model_width, device=self.device, dtype=engine.dtype
            )
            for images in (1, blank, of_call)
        )
        context = ContextCache(config.transformer, 2, self.device, engine.dtype)
        tokens = engine.encode_image(one[:, :, 0])
        works: dict[str, Callable[[], object]] = {
            "image encoder": lambda: engine.encode_image(one[:, :, 0]),
            "its keys and values": lambda: engine.transformer.fill_image(context, tokens),
            f"conditioning, {blank} image{'s' * (blank > 1)}": lambda: engine.encode_video(clip),
            f"a later call, {of_call} images": lambda: engine.encode_video(call),
        }
        result = Result(
            "before denoising", ("", "[ms]", "TFLOP", "at peak [ms]", "of peak"), figures={"ms": {}}
        )
        in_bfloat16 = torch.autocast(
            self.device.type, torch.bfloat16, enabled=engine.dtype == torch.bfloat16
        )  # as a session does it
        with torch.no_grad(), in_bfloat16:
            for name, work in works.items():
                with FlopCounterMode(display=False) as counter:
                    work()
                flops, seconds = counter.get_total_flops(), self._fastest(work)
                needed = flops / self.peak
                cells = (1e3 * seconds, flops / 1e12, 1e3 * needed, 100 * needed / seconds)
                result.rows.append((name, *(f"{cell:.3g}" for cell in cells[:-1]), f"{cells[-1]:.1f} %"))
                result.figures["ms"][name] = 1e3 * seconds
        return result

    def _run(self, chosen: SamplerConfig, setting: Setting, window: int, warm_up: int = 1) -> Timed:
        timed, *_ = run(self.engine, chosen, [setting], window, warm_up, window=window)
        gc.collect()
        return timed

    def _step(self, session: Session, images: int) -> Tensor:
        """Answer a call as a user would: images and state come from the host, actions go there."""
        return session.step(*random_inputs(self.engine.config, images, images), PROMPT).actions.cpu()

    def _fastest(self, work: Callable[[], object]) -> float:
        """Time something by its fastest round [s]."""
        seconds = []
        for _ in range(ROUNDS):
            wait(self.device)
            begin = time.perf_counter()
            work()
            wait(self.device)
            seconds.append(time.perf_counter() - begin)
        return min(seconds)

    def _report(self, timed: Timed, chosen: SamplerConfig) -> Result:
        """Make a row of the first call and the last one, of a window that was warmed up."""
        first, last = timed.calls[0], timed.calls[-1]
        transformer_s = _transformer_s(last)
        flops = rung_flops(self.engine.config, chosen, timed.setting.switches, last)
        share = flops / transformer_s / self.peak
        ratio, difference = self._against_plain(timed)
        row = (
            timed.setting.name,
            f"{first.stages_s['chunk']:.3f}",
            f"{last.stages_s['chunk']:.3f}",
            f"{transformer_s:.3f}",
            "-" if ratio is None else f"{ratio:.2f}",
            f"{flops / transformer_s / 1e12:.3g}",
            f"{100 * share:.0f} %",
            f"{timed.memory_mb / 1e3:.1f}",
            "-" if difference is None else f"{difference:.1e}",
        )
        exact = self.linear_format == "native" and not timed.setting.switches.float8_cache
        deep = (
            self.sizes.dtype == torch.bfloat16
        )  # roundings are many: float32 is compared with float64 elsewhere
        checks = []
        if difference is not None and timed is not self._plain and exact and deep:
            checks.append(Check(timed.setting.name, difference, ROUNDINGS * self._spread, WHY_RIGHT))
        return Result(
            f"{last.computed} transformer runs; the chunk that continues begins with {last.stored_frames} "
            "latent frames in the cache",
            COLUMNS,
            [row],
            checks=checks,
            figures={
                "begin_s": dict(first.stages_s),
                "continue_s": dict(last.stages_s),
                "share_of_peak": share,
                "peak_tflops": self.peak / 1e12,
                "memory_mb": timed.memory_mb,
                "ratio": ratio,
                "difference": difference,
            },
        )

    def _against_plain(self, timed: Timed) -> tuple[float | None, float | None]:
        """Say how many times as fast as the plain engine it is, and how far its actions are from that one's.

        Both where the plain engine answered the same calls with as many steps.
        """
        plain = self._plain
        if plain is None or plain.calls[-1].computed != timed.calls[-1].computed:
            return None, None
        at = min(len(plain.calls), len(timed.calls)) - 1
        seconds = [one.calls[at].stages_s["chunk"] for one in (plain, timed)]
        return seconds[0] / seconds[1], _difference(timed, plain)


def _transformer_s(call: Call) -> float:
    return sum(call.stages_s.get(stage, 0.0) for stage in ("prefill", "denoise"))


def _difference(timed: Timed, truth: Timed) -> float:
    """Return the distance of the actions of the calls that both answered, as a share of their size."""
    pairs = list(zip(timed.calls, truth.calls, strict=False))
    got, wanted = (
        torch.cat([call.actions.flatten() for call in calls]).double() for calls in zip(*pairs, strict=True)
    )
    return float((got - wanted).norm() / wanted.norm())
