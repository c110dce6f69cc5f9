# SPDX-License-Identifier: Apache-2.0
"""Which linear layers bear fewer bits: the error of a closed loop with one kind of layer converted at a time.

    python -m dreamzero_ros.engine.sensitivity --variant bench --device cpu
    python -m dreamzero_ros.engine.sensitivity --checkpoint <folder> --device cuda --dtype bfloat16

Images and states are random; with a checkpoint the weights are those that count. The last lines are what is
converted when `linear_format` asks for it, and all kinds together.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dreamzero_ros.engine.bench import DTYPES, PROMPT, random_inputs, sampler
from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.config import FORMATS, VARIANTS, LinearFormat
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.linear_format import CONVERTED, converter
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.sharing import parse_devices, require_present
from dreamzero_ros.engine.switches import EXACT
from dreamzero_ros.engine.weights import load_engine, random_engine

IMAGES_PER_CALL = (1, 4, 4, 4)
"""One window."""

KINDS = {
    "self attention q, k": r"self_attn\.[qk]",
    "self attention v": r"self_attn\.v",
    "self attention o": r"self_attn\.o",
    "cross attention q": r"cross_attn\.q",
    "cross attention text k, v": r"cross_attn\.[kv]",
    "cross attention image k, v": r"cross_attn\.[kv]_img",
    "cross attention o": r"cross_attn\.o",
    "feed-forward, first": r"ffn\.0",
    "feed-forward, second": r"ffn\.2",
}
"""Patterns of the names of layers in a block."""


def main() -> None:
    """Console entry."""
    parser = _parser()
    options = parser.parse_args()
    dtype = DTYPES[options.dtype]
    try:
        require_present(parse_devices(options.device))
        converter(options.linear_format, torch.device(options.device), dtype)
        if options.checkpoint:
            engine = load_engine(options.checkpoint, options.device, dtype)
        else:
            engine = random_engine(options.variant, options.device, dtype)
    except (ValueError, CheckpointError, OSError) as error:
        parser.error(str(error))
    print(f"{engine.config.name}, {engine.source}, {options.dtype}, {engine.device}: {options.linear_format}")
    print(f"{'converted':<30}{'layers':>8}{'actions':>10}{'video':>10}")
    for name, count, (actions, video) in measure(engine, options.linear_format, options.steps):
        print(f"{name:<30}{count:>8}{100 * actions:>8.2f} %{100 * video:>8.2f} %")


def measure(
    engine: Engine, linear_format: LinearFormat, steps: str
) -> Iterator[tuple[str, int, tuple[float, float]]]:
    """Yield what was converted, how many layers, and the relative errors of actions and dreamed latents.

    Args:
        engine: With native weights, which it has again afterwards.
        linear_format: What layers are converted to.
        steps: As in the bench.
    """
    patterns = {name: re.compile(rf"blocks\.\d+\.{kind}\.weight") for name, kind in KINDS.items()}
    patterns["as linear_format does"] = CONVERTED
    patterns["all of them"] = re.compile(rf"blocks\.\d+\.({'|'.join(KINDS.values())})\.weight")
    truth = _answers(engine, steps)
    for name, pattern in tqdm(patterns.items(), desc="measuring", unit="kind", disable=None):
        with _converted(engine, linear_format, pattern) as count:
            answers = _answers(engine, steps)
        errors = [float((got - true).norm() / true.norm()) for got, true in zip(answers, truth, strict=True)]
        yield name, count, (errors[0], errors[1])


@contextmanager
def _converted(engine: Engine, linear_format: LinearFormat, pattern: re.Pattern[str]) -> Iterator[int]:
    """Convert the layers of some names for a while; gives their number."""
    convert = converter(linear_format, engine.device, engine.dtype)
    native = {
        name: weight for name, weight in engine.transformer.named_parameters() if pattern.fullmatch(name)
    }

    def put(name: str, weight: nn.Parameter) -> None:
        engine.transformer.get_submodule(name.removesuffix(".weight")).weight = weight

    for name, weight in native.items():
        put(name, nn.Parameter(convert(weight.data), requires_grad=False))
    try:
        yield len(native)
    finally:
        for name, weight in native.items():
            put(name, weight)


def _answers(engine: Engine, steps: str) -> tuple[Tensor, Tensor]:
    """All actions and all dreamed latents of a window."""
    session = Session(engine, sampler(steps), switches=EXACT)
    results = []
    for call, images in enumerate(IMAGES_PER_CALL):
        canvases, state = random_inputs(engine.config, images, call)
        results.append(session.step(canvases, state, PROMPT))
    return (
        torch.cat([result.actions.flatten() for result in results]),
        torch.cat([result.video.flatten() for result in results]),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Error of a closed loop by kind of converted linear layer.")
    parser.add_argument("--variant", choices=VARIANTS, default="bench", help="with random weights")
    parser.add_argument("--checkpoint", help="a folder or hub id instead")
    parser.add_argument("--device", default="cpu", help="as in torch: cpu, cuda, cuda:1")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--linear-format", choices=FORMATS[1:], default="fp8")
    parser.add_argument("--steps", default="8", help="transformer runs per chunk, or dynamic")
    return parser


if __name__ == "__main__":
    main()
