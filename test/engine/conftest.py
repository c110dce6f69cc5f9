# SPDX-License-Identifier: Apache-2.0
"""The reference vectors as tensors, and the transformer that they were recorded from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import METADATA, RUN_CONFIG, SHARD_BYTES
from torch import Tensor

from dreamzero_ros.engine.config import TransformerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.weights import random_engine, save_checkpoint

Vectors = dict[str, Tensor]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Run on one thread: small operators gain nothing from two, and lose much where a core is busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def vectors(goldens: Path) -> Callable[[str], Vectors]:
    """Read one file of reference vectors."""

    def read(name: str) -> Vectors:
        with np.load(goldens / f"{name}.npz") as file:
            return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}

    return read


@pytest.fixture(scope="session")
def reference(goldens: Path) -> dict[str, Any]:
    """Return what config.json says about the reference vectors."""
    return json.loads((goldens / "config.json").read_text())


@pytest.fixture(scope="session")
def transformer_config(reference: dict[str, Any]) -> TransformerConfig:
    """Return the sizes of the recorded transformer."""
    recorded = reference["transformer"]
    known = {field.name for field in fields(TransformerConfig)}
    sizes = {name: value for name, value in recorded.items() if name in known}
    return TransformerConfig(**sizes, concat_first_frame_latent=recorded["model_type"] == "i2v")


@pytest.fixture(scope="session")
def transformer(
    transformer_config: TransformerConfig, vectors: Callable[[str], Vectors]
) -> WorldActionTransformer:
    """Return the recorded transformer; its state dict has the recorded names and no others."""
    model = WorldActionTransformer(transformer_config)
    model.load_state_dict(vectors("weights"))
    return model.eval()


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Return a tiny engine with metadata."""
    made = random_engine("tiny", "cpu", torch.float32, seed=1)
    return replace(made, metadata=METADATA, run_config=RUN_CONFIG)


@pytest.fixture(scope="module")
def pristine(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "pristine"
    save_checkpoint(engine, folder)
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A checkpoint to spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "checkpoint"))


@pytest.fixture
def sharded(engine: Engine, tmp_path: Path) -> Path:
    save_checkpoint(engine, tmp_path / "sharded", SHARD_BYTES)
    return tmp_path / "sharded"
