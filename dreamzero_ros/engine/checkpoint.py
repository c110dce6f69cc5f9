# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders in the layout of the reference release, listed before any tensor is read.

    config.json                          sizes of the model
    model.safetensors                    or model-0000i-of-0000n.safetensors with model.safetensors.index.json
    experiment_cfg/metadata.json         statistics of states and actions, by embodiment tag
    experiment_cfg/conf.yaml             the run that made the checkpoint

A low-rank adapter stands beside the weight W that it changes, as two tensors A and B below the same name. Its
training wraps the transformer, which puts `base_model.model.` into every name and, in newer versions of its
library, `.base_layer` before the names of the changed weights; both are taken out here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
METADATA = "experiment_cfg/metadata.json"
RUN_CONFIG = "experiment_cfg/conf.yaml"

WANTED = (CONFIG, WEIGHTS, INDEX, "model-*-of-*.safetensors", METADATA, RUN_CONFIG)
"""What is fetched of a hub repository, which may hold much more."""

_WRAPPER = re.compile(r"(?<=^action_head\.model\.)base_model\.model\.|\.base_layer(?=\.)")
_ADAPTER = re.compile(r"\.lora_([AB])\.default\.weight$")


class CheckpointError(Exception):
    """A checkpoint that cannot be used: what is wrong with which file, what was expected, and the fix."""


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, not read yet."""

    file: Path
    key: str
    """Its name in the file."""
    shape: tuple[int, ...]

    def read(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Read the tensor into memory of its own, so that nothing depends on the file afterwards."""
        with safe_open(self.file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(self.key)
            return tensor.to(device, dtype, copy=True)


@dataclass(frozen=True)
class Adapter:
    """A low-rank change of one weight: W + scale * B A."""

    a: Stored | None = None
    """A (r, in)."""
    b: Stored | None = None
    """B (out, r)."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    """By name in the reference release, adapters apart."""
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    """By the name of the weight that they change."""
    metadata: Mapping[str, Any] | None = None
    """Content of metadata.json, None where there is none."""
    run_config: Mapping[str, Any] | None = None
    """Content of conf.yaml, None where there is none."""


def find_folder(source: str | Path, fetch: bool = True) -> Path:
    """Return the folder of a checkpoint, fetching it from the hub unless `source` is a folder.

    Args:
        source: A folder, or the hub id `owner/name` of a model repository.
        fetch: False looks in the hub's cache on this machine only.

    Raises:
        CheckpointError: If there is neither a folder of that name nor such a repository within reach.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(WANTED), local_files_only=not fetch))
    except (OSError, HFValidationError) as error:
        if not fetch:
            raise CheckpointError(
                f"checkpoint {source}: neither a folder nor in the hub's cache on this machine; run `hf "
                f"download {source}` first, or give a checkpoint folder"
            ) from error
        raise CheckpointError(
            f"checkpoint {source}: there is no folder of that name, and the hub does not give it ({error}); "
            f"give a checkpoint folder, or a hub id owner/name that this machine reaches or has in its cache"
        ) from error


def open_checkpoint(folder: Path) -> Checkpoint:
    """List the tensors of a checkpoint folder and read its other files.

    Raises:
        CheckpointError: If a file is missing, truncated or not what its name says.
    """
    stored = {}
    adapters: dict[str, Adapter] = {}
    for tensor in _stored(folder):
        key = _WRAPPER.sub("", tensor.key)
        match = _ADAPTER.search(key)
        if match:
            weight = key[: match.start()] + ".weight"
            adapters[weight] = replace(adapters.get(weight, Adapter()), **{match[1].lower(): tensor})
        else:
            stored[key] = tensor
    return Checkpoint(
        folder=folder,
        config=_read_mapping(folder / CONFIG),
        tensors=stored,
        adapters=adapters,
        metadata=_read_mapping(folder / METADATA) if (folder / METADATA).exists() else None,
        run_config=_read_mapping(folder / RUN_CONFIG) if (folder / RUN_CONFIG).exists() else None,
    )


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise CheckpointError(f"{path}: missing; a checkpoint folder has {CONFIG} beside its {WEIGHTS}")
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be parsed ({error}); fetch the file again") from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: expected a mapping, got {type(content).__name__}; fetch the file again"
        )
    return content


def _stored(folder: Path) -> Iterator[Stored]:
    """Yield every tensor of the folder, checking shards against the index."""
    if not (folder / INDEX).exists():
        if not (folder / WEIGHTS).exists():
            raise CheckpointError(
                f"{folder}: expected {WEIGHTS} or {INDEX}, got neither; fetch the weights again"
            )
        yield from _file_content(folder / WEIGHTS)
        return
    listed = _read_mapping(folder / INDEX).get("weight_map", {})
    shards = sorted(set(listed.values()))
    absent = [shard for shard in shards if not (folder / shard).exists()]
    if absent:
        raise CheckpointError(
            f"{folder / INDEX}: names {len(shards)} files, of which {len(absent)} are missing: "
            f"{first(absent)}; fetch them again"
        )
    for shard in shards:
        held = {tensor.key: tensor for tensor in _file_content(folder / shard)}
        expected = {key for key, file in listed.items() if file == shard}
        if held.keys() != expected:
            missing, foreign = sorted(expected - held.keys()), sorted(held.keys() - expected)
            raise CheckpointError(
                f"{folder / shard}: differs from {INDEX}, missing {first(missing)}, foreign {first(foreign)}"
                f"; fetch both files again"
            )
        yield from held.values()


def _file_content(path: Path) -> list[Stored]:
    try:
        with safe_open(path, framework="pt") as file:
            keys = file.keys()
            return [Stored(path, key, tuple(file.get_slice(key).get_shape())) for key in keys]
    except SafetensorError as error:
        size = path.stat().st_size
        raise CheckpointError(
            f"{path}: {size} bytes, truncated or not a safetensors file ({error}); fetch it again"
        ) from error


def first(names: list[str], count: int = 3) -> str:
    """Return the first few names for a message, with the number of the others."""
    rest = len(names) - count
    return (", ".join(names[:count]) or "none") + (f" and {rest} more" if rest > 0 else "")
