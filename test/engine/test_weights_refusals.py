# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that cannot be used are refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import (
    QUERY,
    STACKED,
    Tensors,
    edit,
    edit_json,
    refusal,
    sizes_of,
)
from safetensors.torch import load_file

pytestmark = pytest.mark.cpu


def test_a_name_that_is_neither_folder_nor_repository_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path / "no" / "such" / "folder")
    assert "no folder of that name" in message
    assert str(tmp_path) in message


def test_a_hub_id_out_of_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refusal("somebody/no-such-checkpoint")
    assert "somebody/no-such-checkpoint" in message
    assert "the hub does not give it" in message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in refusal(folder)


def test_broken_json_is_named(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert f"{folder / 'config.json'}: cannot be parsed" in refusal(folder)


def test_json_of_another_kind_is_named(folder: Path) -> None:
    (folder / "experiment_cfg" / "metadata.json").write_text("[]")
    assert "metadata.json: expected a mapping, got list" in refusal(folder)


def test_missing_tensors_are_named(folder: Path) -> None:
    edit(folder / "model.safetensors", lambda tensors: tensors.pop(QUERY))
    message = refusal(folder)
    assert str(folder) in message
    assert f"1 of {len(load_file(folder / 'model.safetensors')) + 1} tensors are missing: {QUERY};" in message


def test_foreign_tensors_are_named(folder: Path) -> None:
    edit(folder / "model.safetensors", lambda tensors: tensors.update(other=torch.zeros(1)))
    assert "1 tensors are foreign: other;" in refusal(folder)


@pytest.mark.parametrize("key", [QUERY, STACKED])
def test_a_tensor_of_another_shape_is_named_with_both(folder: Path, key: str) -> None:
    shape = list(load_file(folder / "model.safetensors")[key].shape)
    edit(folder / "model.safetensors", lambda tensors: tensors.update({key: tensors[key][1:].clone()}))
    message = refusal(folder)
    assert f"{key} in model.safetensors (expected {shape}, got {[shape[0] - 1, *shape[1:]]})" in message


def test_all_faults_are_told_at_once_and_long_lists_are_cut(folder: Path) -> None:
    def spoil(tensors: Tensors) -> None:
        for key in [key for key in tensors if key.startswith("action_head.vae.")]:
            tensors["other." + key] = tensors.pop(key)
        tensors[QUERY] = torch.zeros(1)

    vae = sum(key.startswith("action_head.vae.") for key in load_file(folder / "model.safetensors"))
    edit(folder / "model.safetensors", spoil)
    message = refusal(folder)
    assert f"and {vae - 3} more" in message
    assert all(
        part in message for part in ("are missing", "are foreign", "another shape", "fetch the files again")
    )


def test_a_truncated_file_is_named(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    message = refusal(folder)
    assert f"{folder / 'model.safetensors'}: {len(content) - 100} bytes, truncated" in message


def test_an_index_that_names_an_absent_shard_is_refused(sharded: Path) -> None:
    (sharded / sorted(path.name for path in sharded.glob("*.safetensors"))[1]).unlink()
    message = refusal(sharded)
    assert "model.safetensors.index.json" in message
    assert "1 are missing: model-00002-of-" in message


@pytest.mark.parametrize(
    "content", [None, [], {}, "model.safetensors", {QUERY: None}, {QUERY: "../m.safetensors"}]
)
def test_an_index_without_a_weight_map_is_refused(sharded: Path, content: Any) -> None:
    edit_json(sharded / "model.safetensors.index.json", lambda index: index.update(weight_map=content))
    message = refusal(sharded)
    assert "model.safetensors.index.json: weight_map: expected the file in this folder of each" in message
    assert message.endswith("fetch the file again")


def test_an_index_that_disagrees_with_a_shard_is_refused(sharded: Path) -> None:
    first = sorted(sharded.glob("*.safetensors"))[0]
    edit(first, lambda tensors: tensors.pop(QUERY))
    assert f"{first}: differs from model.safetensors.index.json, missing {QUERY}" in refusal(sharded)


def test_sizes_of_no_variant_are_named_with_the_nearest(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: sizes_of(c).update(num_layers=3))
    message = refusal(folder)
    assert "nearest is tiny: num_layers expected 2, got 3" in message
    assert "wan21_14b" in message


def test_a_missing_size_is_named(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: sizes_of(c).pop("ffn_dim"))
    assert "diffusion_model_cfg has no ffn_dim" in refusal(folder)


@pytest.mark.parametrize("level", ["action_head_cfg", "config", "diffusion_model_cfg"])
def test_a_config_of_another_model_is_refused(folder: Path, level: str) -> None:
    path = ["action_head_cfg", "config", "diffusion_model_cfg"]

    def drop(content: dict[str, Any]) -> None:
        for name in path[: path.index(level)]:
            content = content[name]
        content[level] = None

    edit_json(folder / "config.json", drop)
    assert "config.json: action_head_cfg.config" in refusal(folder)
