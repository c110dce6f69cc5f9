# SPDX-License-Identifier: Apache-2.0
"""The reference vectors as tensors, and the transformer that they were recorded from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import METADATA, RUN_CONFIG, SHARD_BYTES

from dreamzero_ros.bench.gpu.reference import (
    Vectors,
    read_config,
    read_vectors,
    recorded_sizes,
    recorded_transformer,
)
from dreamzero_ros.engine.config import TransformerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.model import WorldActionTransformer
from dreamzero_ros.engine.weights import random_engine, save_checkpoint


@pytest.fixture(scope="session")
def vectors(goldens: Path) -> Callable[[str], Vectors]:
    """Read one file of reference vectors."""
    return partial(read_vectors, goldens)


@pytest.fixture(scope="session")
def reference(goldens: Path) -> dict[str, Any]:
    """Return what config.json says about the reference vectors."""
    return read_config(goldens)


@pytest.fixture(scope="session")
def transformer_config(reference: dict[str, Any]) -> TransformerConfig:
    """Return the sizes of the recorded transformer."""
    return recorded_sizes(reference)


@pytest.fixture(scope="session")
def transformer(goldens: Path) -> WorldActionTransformer:
    """Return the recorded transformer."""
    return recorded_transformer(goldens)


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
