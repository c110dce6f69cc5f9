# SPDX-License-Identifier: Apache-2.0
"""Engines out of checkpoints, checkpoints out of engines, and engines with random weights."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from dreamzero_ros.engine.assembly import all_slots, empty_engine, parts, places
from dreamzero_ros.engine.checkpoint import (
    CONFIG,
    INDEX,
    METADATA,
    PEFT_CONFIG,
    RUN_CONFIG,
    WEIGHTS,
    Adapter,
    Checkpoint,
    CheckpointError,
    Stored,
    find_folder,
    first,
    module_of,
    open_checkpoint,
)
from dreamzero_ros.engine.config import LinearFormat, ModelConfig, variant
from dreamzero_ros.engine.encoders import BYTES, load_tokenizer
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.key_map import TRANSFORMER
from dreamzero_ros.engine.release_config import (
    read_lora_alpha,
    read_model_config,
    read_sampler_config,
    write_config,
)

SHARD_BYTES = 5_000_000_000
"""Largest size of a written weight file [bytes]."""


@dataclass(frozen=True)
class _Source:
    """Where one tensor comes from: a file, and adapters with the scale of each."""

    stored: Stored
    adapters: list[tuple[Adapter, float]] = field(default_factory=list)


def load_engine(
    source: str | Path,
    device: str | torch.device,
    dtype: torch.dtype,
    base: str | Path | None = None,
    lora_alpha: float | None = None,
    linear_format: LinearFormat = "native",
    offload_text: bool = False,
) -> Engine:
    """Load a checkpoint of the reference release.

    Adapters are merged in float32, W + scale * B A, before the weights get their type and format; scale is
    alpha / r in the layout of the reference release, and what `peft` makes of its own file in its layout.

    Args:
        source: Checkpoint folder, or hub id `owner/name`.
        device: Where the weights go.
        dtype: Their type.
        base: For a checkpoint that holds adapters only: the one on which they were trained, as `source`.
        lora_alpha: Alpha of adapters in the layout of the reference release; None takes it from config.json.
        linear_format: How the large linear layers of the transformer are stored and multiplied.
        offload_text: Whether the text encoder rests in main memory.

    Raises:
        CheckpointError: If anything is missing, foreign or of another shape; the message names the fix.
        FileNotFoundError: If the tokenizer of the text encoder is not on this machine.
        ValueError: If the device cannot compute in the linear format.
    """
    device = torch.device(device)
    engine, sources = _planned(
        find_folder(source), str(source), device, dtype, base, lora_alpha, linear_format, offload_text
    )
    _fill(engine, sources)
    return _ready(engine)


def inspect_checkpoint(
    source: str | Path,
    dtype: torch.dtype,
    base: str | Path | None = None,
    lora_alpha: float | None = None,
) -> Engine:
    """Check a checkpoint as `load_engine` does, without reading a weight or fetching the checkpoint.

    Arguments and errors are those of `load_engine`.

    Returns:
        The engine as it would be, its parameters on the meta device.
    """
    folder = find_folder(source, fetch=False)
    base = None if base is None else find_folder(base, fetch=False)
    return _planned(folder, str(source), torch.device("meta"), dtype, base, lora_alpha)[0]


def random_engine(
    sizes: str | ModelConfig,
    device: str | torch.device,
    dtype: torch.dtype,
    seed: int = 0,
    linear_format: LinearFormat = "native",
    offload_text: bool = False,
    random_text: bool = False,
) -> Engine:
    """Return an engine with random weights, drawn on its device, whose outputs are of order one.

    The weights follow from variant, seed and kind of device; another type only rounds them. The tokenizer is
    the one that needs no files, whatever the variant: to random weights no token means anything.

    Args:
        sizes: Name of a variant, or the sizes themselves.
        device: Where the weights go.
        dtype: Their type.
        seed: What they are drawn from.
        linear_format: How the large linear layers of the transformer are stored and multiplied.
        offload_text: Whether the text encoder rests in main memory.
        random_text: Whether random embeddings stand in for the text encoder.

    Raises:
        ValueError: If the device cannot compute in the linear format.
    """
    device = torch.device(device)
    config = variant(sizes) if isinstance(sizes, str) else sizes
    engine = empty_engine(
        config, load_tokenizer(BYTES), device, dtype, linear_format, offload_text, random_text
    )
    generator = torch.Generator(device).manual_seed(seed)
    for slots in all_slots(engine):
        for name, shape in slots.shapes().items():
            slots.put(name, _random(name, shape, generator).to(slots.device, dtype))
    return _ready(replace(engine, source=f"random weights, seed {seed}", trained=False))


def meta_engine(variant_name: str) -> Engine:
    """Return an engine whose parameters have names and shapes but no memory."""
    engine = empty_engine(variant(variant_name), load_tokenizer(BYTES), torch.device("meta"), torch.bfloat16)
    return replace(engine, trained=False)


def save_checkpoint(engine: Engine, folder: str | Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write an engine as a checkpoint in the layout of the reference release.

    Everything is written under a temporary name beside `folder` and renamed at the end.

    Args:
        engine: What is written.
        folder: A folder that does not exist yet, or is empty.
        shard_bytes: Largest size of one weight file [bytes]; a bigger model gets several files and an index.

    Raises:
        FileExistsError: If the folder holds anything.
        ValueError: If weights have lost digits to another linear format, or the text encoder is offloaded.
    """
    if engine.linear_format != "native" or engine.offload_text:
        raise ValueError(
            f"{engine.source}: expected native weights in one place, got linear_format "
            f"{engine.linear_format!r} and offload_text {engine.offload_text}; load it without these"
        )
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: expected a new or empty folder, got files in it; give another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        partial = Path(temporary) / folder.name
        (partial / METADATA).parent.mkdir(parents=True)
        _write_weights(engine, partial, shard_bytes)
        _write_json(partial / CONFIG, write_config(engine.config, engine.sampler))
        if engine.metadata is not None:
            _write_json(partial / METADATA, engine.metadata)
        if engine.run_config is not None:
            (partial / RUN_CONFIG).write_text(yaml.safe_dump(dict(engine.run_config)), encoding="utf-8")
        partial.rename(folder)


def _planned(
    folder: Path,
    source: str,
    device: torch.device,
    dtype: torch.dtype,
    base: str | Path | None,
    lora_alpha: float | None,
    linear_format: LinearFormat = "native",
    offload_text: bool = False,
) -> tuple[Engine, dict[str, _Source]]:
    """Return the engine of a checkpoint without weights, and where each of them comes from."""
    top = open_checkpoint(folder)
    layers = [top] if base is None else [open_checkpoint(find_folder(base)), top]
    if top.adapters and base is not None:
        _require_base(top, str(Path(base).absolute()))
    described = next((layer for layer in reversed(layers) if layer.config), None)
    if described is None:
        raise CheckpointError(f"{folder}: it holds adapters only; {_base_wanted(top)}")
    config = read_model_config(described.folder / CONFIG, described.config)
    tokenizer = load_tokenizer(config.text.tokenizer, described.folder)
    engine = replace(
        empty_engine(config, tokenizer, device, dtype, linear_format, offload_text),
        source=source,
        sampler=read_sampler_config(described.folder / CONFIG, described.config),
        metadata=top.metadata,
        run_config=top.run_config,
        doubts=_base_doubts(top, base),
    )
    return engine, _sources(engine, layers, lora_alpha)


def _sources(engine: Engine, layers: Sequence[Checkpoint], lora_alpha: float | None) -> dict[str, _Source]:
    """Find every tensor of the engine: a later layer replaces tensors, and its adapters change what is there.

    Raises:
        CheckpointError: If a tensor is missing, foreign or of another shape, in one message for all of them.
    """
    expected = {place.key: place.shape for table in places(engine) for place in table.values()}
    sources: dict[str, _Source] = {}
    unfit: list[str] = []
    untrained: list[str] = []
    for layer in layers:
        sources |= {key: _Source(stored) for key, stored in layer.tensors.items()}
        for weight, adapter in layer.adapters.items():
            rank = _rank(adapter, expected.get(weight, ()))
            if weight in sources and rank:
                sources[weight].adapters.append((adapter, _scale(layer, adapter, rank, lora_alpha)))
            else:
                unfit.append(weight)
        untrained += _untrained(layer, expected)

    missing = sorted(expected.keys() - sources.keys())
    foreign = sorted(sources.keys() - expected.keys())
    reshaped = [
        f"{key} in {got.file.name} (expected {list(shape)}, got {list(got.shape)})"
        for key, shape in sorted(expected.items())
        if key in sources and (got := sources[key].stored).shape != shape
    ]
    faults = {
        f"of {len(expected)} tensors are missing": missing,
        "tensors are foreign": foreign,
        "tensors have another shape": reshaped,
        "adapters fit no weight": sorted(unfit),
        f"tensors that {PEFT_CONFIG} tells of are not there": sorted(untrained),
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(names)} {what}: {first(names)}" for what, names in faults.items() if names)
        top = layers[-1]
        if missing and top.adapters and len(layers) == 1:
            fix = f"it holds adapters only: {_base_wanted(top)}"
        else:
            fix = f"use a complete checkpoint of {engine.config.name}, or fetch the files again"
        raise CheckpointError(f"{top.folder}: {listed}; {fix}")
    return sources


def _rank(adapter: Adapter, weight: tuple[int, ...]) -> int:
    """Return the rank of an adapter that fits a weight of that shape, 0 for one that does not."""
    if adapter.a is None or adapter.b is None or len(weight) != 2:
        return 0
    rank = adapter.a.shape[0]
    return rank if adapter.a.shape == (rank, weight[1]) and adapter.b.shape == (weight[0], rank) else 0


def _scale(layer: Checkpoint, adapter: Adapter, rank: int, lora_alpha: float | None) -> float:
    if adapter.scale is None:
        alpha = read_lora_alpha(layer.folder / CONFIG, layer.config) if lora_alpha is None else lora_alpha
        return alpha / rank
    if lora_alpha is not None:
        raise CheckpointError(
            f"{layer.folder}: lora_alpha: expected none, for {PEFT_CONFIG} has it, got {lora_alpha:g}; leave "
            f"it out"
        )
    return adapter.scale


def _untrained(layer: Checkpoint, expected: Iterable[str]) -> list[str]:
    """Return what adapter_config.json says was trained and the layer does not hold."""
    if layer.peft is None:
        return []
    ours = [key for key in expected if key.startswith(TRANSFORMER)]
    adapted = [key for key in ours if key.endswith(".weight") and layer.peft.adapts(module_of(key))]
    whole = [key for key in ours if layer.peft.saves(module_of(key))]
    return [
        *(key for key in adapted if key not in layer.adapters),
        *(k for k in whole if k not in layer.tensors),
    ]


def _base_wanted(top: Checkpoint) -> str:
    told = top.trained_on[1]
    named = f" (their training calls it {told!r})" if told else ""
    return f"set base_checkpoint to the checkpoint on which they were trained{named}"


def _require_base(top: Checkpoint, base: str) -> None:
    """Refuse a base of another name than the one that the adapters were trained on.

    Shapes tell nothing: adapters of equal shapes exist on different bases. The names are those of the last
    folder, or of the repository on the hub.
    """
    where, told = top.trained_on
    if told and _base_name(told) != _base_name(base):
        raise CheckpointError(
            f"{top.folder}: its adapters were trained on {_base_name(told)!r} ({where}: {told}), got "
            f"base_checkpoint {_base_name(base)!r}, on which they would move the arm wrongly though they fit"
            f"; set base_checkpoint to that checkpoint, or give its folder that name if it has another here"
        )


def _base_name(path: str) -> str:
    """Name of a checkpoint: of its folder, or of its repository on the hub, cached or not; lower case."""
    cached = re.search(r"models--.+?--([^/]+)/snapshots/", path)
    return (cached[1] if cached else PurePosixPath(path).name).lower()


def _base_doubts(top: Checkpoint, base: str | Path | None) -> tuple[str, ...]:
    where, told = top.trained_on
    if not top.adapters or base is None or told:
        return ()
    says = "is missing" if told is None else "names none, as of a training that began with raw Wan weights"
    return (
        f"{top.folder}: nothing says that its adapters were trained on {base}: {where} {says}; on another "
        f"base they fit too, and move the arm wrongly",
    )


def _fill(engine: Engine, sources: dict[str, _Source]) -> None:
    """Read every tensor once and give it, or its parts, to the parameters of the engine."""
    wanted = defaultdict(list)
    for slots, table in zip(all_slots(engine), places(engine), strict=True):
        for name, place in table.items():
            wanted[place.key].append((slots, name, place))
    for key, source in tqdm(sources.items(), desc="loading weights", unit="tensor", disable=None):
        tensor = _read(source, engine.device, engine.dtype)
        for slots, name, place in wanted[key]:
            part = tensor.tensor_split(place.parts)[place.part] if place.parts > 1 else tensor
            slots.put(name, part.to(slots.device))


def _ready(engine: Engine) -> Engine:
    """Return the engine, whose weights are there, ready to compute."""
    if engine.offload_text:
        engine.text_encoder.offload(engine.device)
    return engine


def _read(source: _Source, device: torch.device, dtype: torch.dtype) -> Tensor:
    if not source.adapters:
        return source.stored.read(device, dtype)
    weight = source.stored.read(device, torch.float32)
    for adapter, scale in source.adapters:
        assert adapter.a is not None, "checked with the shapes"
        assert adapter.b is not None, "checked with the shapes"
        a, b = adapter.a.read(device, torch.float32), adapter.b.read(device, torch.float32)
        weight += scale * (b @ a)
    return weight.to(dtype)


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draw a parameter, float32: layers keep the size of what they sum, norms are one, biases are zero."""
    leaf = name.rpartition(".")[2]
    device = generator.device
    if leaf in ("bias", "b", "log_scale"):
        return torch.zeros(shape, device=device)
    if leaf == "gamma" or (leaf == "weight" and len(shape) == 1):
        return torch.ones(shape, device=device)
    inputs = shape[1] if leaf == "W" else math.prod(shape[1:]) if leaf == "weight" else shape[-1]
    return torch.randn(shape, device=device, generator=generator) / math.sqrt(inputs)


def _write_weights(engine: Engine, folder: Path, shard_bytes: int) -> None:
    """Write the tensors in order, into a new file whenever the next one would make a file too big."""
    parameters = _parameters_by_key(engine)
    sizes = {key: sum(p.nbytes for p in held) for key, (held, _) in parameters.items()}
    shards: list[list[str]] = [[]]
    for key, size in sizes.items():
        if shards[-1] and sum(sizes[other] for other in shards[-1]) + size > shard_bytes:
            shards.append([])
        shards[-1].append(key)
    names = [WEIGHTS]
    if len(shards) > 1:
        names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
        weight_map = {key: name for name, keys in zip(names, shards, strict=True) for key in keys}
        _write_json(
            folder / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        )
    for name, keys in zip(
        names, tqdm(shards, desc="writing weights", unit="file", disable=None), strict=True
    ):
        tensors = {}
        for key in keys:
            held, shape = parameters[key]
            tensors[key] = (
                torch.cat(held).reshape(shape) if len(held) > 1 else held[0].reshape(shape).contiguous()
            )
        save_file(tensors, folder / name, metadata={"format": "pt"})


def _parameters_by_key(engine: Engine) -> dict[str, tuple[list[Tensor], tuple[int, ...]]]:
    """Return, for every tensor of a checkpoint, the parameters stacked in it and its shape."""
    stacked: dict[str, dict[int, Tensor]] = defaultdict(dict)
    shapes = {}
    for module, table in zip(parts(engine), places(engine), strict=True):
        for name, place in table.items():
            stacked[place.key][place.part] = module.get_parameter(name)
            shapes[place.key] = place.shape
    return {key: ([held[part] for part in sorted(held)], shapes[key]) for key, held in stacked.items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
