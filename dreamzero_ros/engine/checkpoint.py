# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders in the layout of the reference release, listed before any tensor is read.

    config.json                          sizes of the model
    model.safetensors                    or model-0000i-of-0000n.safetensors with model.safetensors.index.json
    experiment_cfg/metadata.json         statistics of states and actions, by embodiment tag
    experiment_cfg/conf.yaml             the run that made the checkpoint

A low-rank adapter stands beside the weight W that it changes, as two tensors A and B below the same name. Its
training wraps the transformer, which puts `base_model.model.` into every name and, in newer versions of its
library, `.base_layer` before the names of the changed weights; both are taken out here.

That library, `peft`, saves adapters in a layout of its own, which is read too: adapter_model.safetensors with
names that begin with `base_model.model.`, and adapter_config.json.
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

from dreamzero_ros.engine.key_map import TRANSFORMER
from dreamzero_ros.engine.peft_config import PeftConfig, read_peft_config

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
METADATA = "experiment_cfg/metadata.json"
RUN_CONFIG = "experiment_cfg/conf.yaml"

PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = "adapter_model.safetensors"

WANTED = (CONFIG, WEIGHTS, INDEX, "model-*-of-*.safetensors", METADATA, RUN_CONFIG, PEFT_CONFIG, PEFT_WEIGHTS)
"""What is fetched of a hub repository, which may hold much more."""

_WRAPPER = "base_model.model."
_WRAPPED = re.compile(rf"(?<=^{re.escape(TRANSFORMER)}){re.escape(_WRAPPER)}|\.base_layer(?=\.)")
_ADAPTER = re.compile(r"\.lora_([AB])(?:\.default)?\.weight$")


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
    scale: float | None = None
    """None: alpha / r, with the alpha of config.json."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds."""

    folder: Path
    config: Mapping[str, Any]
    """Content of config.json; empty where adapters in the layout of `peft` have none."""
    tensors: Mapping[str, Stored]
    """By name in the reference release, adapters apart."""
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    """By the name of the weight that they change."""
    metadata: Mapping[str, Any] | None = None
    """Content of metadata.json, None where there is none."""
    run_config: Mapping[str, Any] | None = None
    """Content of conf.yaml, None where there is none."""
    peft: PeftConfig | None = None
    """Content of adapter_config.json, None in the layout of the reference release."""

    @property
    def trained_on(self) -> tuple[str, str | None]:
        """The file that says on what adapters were trained, and the path or hub id in it, empty for nothing.

        The path is that of the machine of the training. None where no file says anything about it.
        """
        if self.peft is not None and self.peft.base:
            return f"{PEFT_CONFIG}: base_model_name_or_path", self.peft.base
        told = None
        if self.run_config is not None and "pretrained_model_path" in self.run_config:
            told = str(self.run_config["pretrained_model_path"] or "")
        return f"{RUN_CONFIG}: pretrained_model_path", told


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
    is_peft = any((folder / name).exists() for name in (PEFT_CONFIG, PEFT_WEIGHTS))
    peft = _read_peft_config(folder) if is_peft else None
    for tensor in _stored(folder) if peft is None else _file_content(folder / PEFT_WEIGHTS):
        key = _WRAPPED.sub("", tensor.key if peft is None else _unwrapped(tensor))
        match = _ADAPTER.search(key)
        if match:
            weight = key[: match.start()] + ".weight"
            half: dict[str, Any] = {match[1].lower(): tensor}
            adapters[weight] = replace(adapters.get(weight, Adapter()), **half)
        else:
            stored[key] = tensor
    if peft is not None:
        adapters = {weight: _scaled(adapter, weight, peft) for weight, adapter in adapters.items()}
    return Checkpoint(
        folder=folder,
        config={} if peft is not None and not (folder / CONFIG).exists() else _read_mapping(folder / CONFIG),
        tensors=stored,
        adapters=adapters,
        metadata=_read_mapping(folder / METADATA) if (folder / METADATA).exists() else None,
        run_config=_read_mapping(folder / RUN_CONFIG) if (folder / RUN_CONFIG).exists() else None,
        peft=peft,
    )


def module_of(weight: str) -> str:
    """Return the name by which a training that wraps the transformer knows the module of a weight."""
    return weight.removeprefix(TRANSFORMER).rpartition(".")[0]


def _read_peft_config(folder: Path) -> PeftConfig:
    whole = [name for name in (WEIGHTS, INDEX) if (folder / name).exists()]
    if whole:
        raise CheckpointError(
            f"{folder}: expected either a checkpoint or adapters, got {whole[0]} beside {PEFT_CONFIG}; move "
            f"one of them into a folder of its own"
        )
    for one, other in ((PEFT_WEIGHTS, PEFT_CONFIG), (PEFT_CONFIG, PEFT_WEIGHTS)):
        if not (folder / one).exists():
            raise CheckpointError(
                f"{folder}: expected {one} beside {other}, got none; fetch it, or save the adapters again "
                f"with safe_serialization=True, for weight files of other kinds may hold code"
            )
    try:
        return read_peft_config(_read_mapping(folder / PEFT_CONFIG))
    except ValueError as error:
        raise CheckpointError(f"{folder / PEFT_CONFIG}: {error}") from error


def _unwrapped(tensor: Stored) -> str:
    """Name of a tensor of `peft` in the reference release; the model that was wrapped is the transformer."""
    name = tensor.key.removeprefix(_WRAPPER)
    if name == tensor.key:
        raise CheckpointError(
            f"{tensor.file}: expected names that begin with {_WRAPPER!r}, got {tensor.key}; save the "
            f"adapters again with save_pretrained of peft"
        )
    return name if name.startswith(TRANSFORMER) else TRANSFORMER + name


def _scaled(adapter: Adapter, weight: str, peft: PeftConfig) -> Adapter:
    module = module_of(weight)
    if adapter.a is not None and adapter.a.shape[0] != peft.rank_of(module):
        raise CheckpointError(
            f"{adapter.a.file}: {adapter.a.key}: expected rank {peft.rank_of(module):g} as in {PEFT_CONFIG}, "
            f"got {adapter.a.shape[0]}; fetch both files again"
        )
    return replace(adapter, scale=peft.scale(module))


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
    listed = _read_mapping(folder / INDEX).get("weight_map")
    if not listed or not isinstance(listed, dict) or not all(map(_is_file_name, listed.values())):
        raise CheckpointError(
            f"{folder / INDEX}: weight_map: expected the file in this folder of each tensor, got "
            f"{str(listed)[:60]}; fetch the file again"
        )
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


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value == Path(value).name


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
