# SPDX-License-Identifier: Apache-2.0
"""Adapters as the library `peft` saves them mean what they mean to it, and everything else is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from checkpoints import METADATA, edit, edit_json, refusal

from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.key_map import TRANSFORMER
from dreamzero_ros.engine.weights import inspect_checkpoint, load_engine, random_engine

pytestmark = pytest.mark.cpu

TARGETS = ["q", "k", "v", "o", "ffn.0", "ffn.2"]
WHOLE = ["state_encoder", "action_encoder", "action_decoder"]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
QUERY = "base_model.model.blocks.0.self_attn.q.lora_A.weight"


def adapt(folder: Path, **settings: Any) -> dict[str, torch.Tensor]:
    """Train adapters around the transformer of `pristine`, save them; returns the weights when merged."""
    transformer = random_engine("tiny", "cpu", torch.float32, seed=1).transformer
    chosen = {"r": 4, "lora_alpha": 6, "target_modules": TARGETS, "modules_to_save": WHOLE} | settings
    wrapped = peft.get_peft_model(transformer, peft.LoraConfig(**chosen))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    wrapped.save_pretrained(folder)
    return {name: tensor.clone() for name, tensor in wrapped.merge_and_unload().state_dict().items()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    adapt(folder)
    return folder


@pytest.fixture
def adapters(saved: Path, tmp_path: Path) -> Path:
    """A folder of adapters to spoil."""
    folder = tmp_path / "adapters"
    folder.mkdir()
    for name in (WEIGHTS, CONFIG):
        (folder / name).write_bytes((saved / name).read_bytes())
    return folder


SETTINGS: dict[str, dict[str, Any]] = {
    "as the reference release trains": {},
    "names as a pattern, rank-stabilised": {
        "target_modules": r"blocks\.\d+\.(self_attn|cross_attn)\.(q|o)",
        "use_rslora": True,
    },
    "all linear layers and their biases": {
        "target_modules": "all-linear",
        "modules_to_save": None,
        "bias": "lora_only",
    },
    "ranks and alphas by pattern, some modules left out": {
        "rank_pattern": {"self_attn.q": 2, r"blocks\.1\.ffn\.\d": 8},
        "alpha_pattern": {"self_attn.q": 12, "cross_attn.k": 1},
        "exclude_modules": ["cross_attn.q"],
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_weights_are_those_that_peft_merges(tmp_path: Path, pristine: Path, settings: dict[str, Any]):
    merged = adapt(tmp_path, **settings)
    found = load_engine(tmp_path, "cpu", torch.float32, base=pristine).transformer.state_dict()
    before = load_engine(pristine, "cpu", torch.float32).transformer.state_dict()
    assert found.keys() == merged.keys()
    for name, tensor in merged.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
    assert sum(not torch.equal(tensor, before[name]) for name, tensor in found.items()) >= 4


def test_the_model_is_that_of_the_base_and_the_statistics_are_those_of_the_adapters(
    adapters: Path, pristine: Path, engine: Engine
):
    found = inspect_checkpoint(adapters, torch.float32, base=pristine)
    assert found.config == engine.config and found.metadata is None
    (adapters / "experiment_cfg").mkdir()
    (adapters / "experiment_cfg" / "metadata.json").write_text(json.dumps(METADATA))
    assert inspect_checkpoint(adapters, torch.float32, base=pristine).metadata == METADATA


def test_without_a_base_it_is_asked_for_by_the_name_in_the_file(adapters: Path):
    edit_json(adapters / CONFIG, lambda c: c.update(base_model_name_or_path="/runs/DreamZero-AgiBot"))
    message = refusal(adapters)
    assert "adapters only; set base_checkpoint" in message and "'/runs/DreamZero-AgiBot'" in message


REFUSED = {
    "DoRA": ({"use_dora": True}, "use_dora: expected nothing"),
    "another kind": ({"peft_type": "IA3"}, "peft_type: expected 'LORA', got 'IA3'"),
    "a base that was changed": ({"init_lora_weights": "pissa"}, "'pissa' changed the base"),
    "layers stacked anew": ({"layer_replication": [[0, 1]]}, "layer_replication: expected nothing"),
    "a field of the future": ({"use_magic": {"a": 1}}, "use_magic: expected nothing"),
    "transposed weights": ({"fan_in_fan_out": True}, "fan_in_fan_out: expected nothing"),
    "no rank": ({"r": None}, "r: expected a number above 0, got None"),
    "another rank": ({"r": 8}, "expected rank 8 as in adapter_config.json, got 4"),
    "no alpha": ({"lora_alpha": "4"}, "lora_alpha: expected a number above 0, got '4'"),
    "alphas in a list": ({"alpha_pattern": [4]}, "alpha_pattern: expected numbers by pattern, got [4]"),
    "targets in numbers": ({"target_modules": [1]}, "target_modules: expected names of modules, got [1]"),
    "further targets": (
        {"target_modules": [*TARGETS, "k_img"]},
        "2 tensors that adapter_config.json tells of",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(
    adapters: Path, pristine: Path, change: dict[str, Any], words: str
):
    edit_json(adapters / CONFIG, lambda content: content.update(change))
    message = refusal(adapters, base=pristine)
    assert words in message
    assert "; " in message.partition(words)[2]


def test_what_is_missing_from_the_files_is_named(adapters: Path, pristine: Path):
    edit(adapters / WEIGHTS, lambda tensors: [tensors.pop(QUERY), tensors.pop(QUERY.replace("_A", "_B"))])
    edit(adapters / WEIGHTS, lambda tensors: tensors.pop("base_model.model.state_encoder.layer1.W"))
    message = refusal(adapters, base=pristine)
    assert "2 tensors that adapter_config.json tells of are not there" in message
    assert f"{TRANSFORMER}blocks.0.self_attn.q.weight" in message
    assert f"{TRANSFORMER}state_encoder.layer1.W" in message


def test_half_an_adapter_is_refused(adapters: Path, pristine: Path):
    edit(adapters / WEIGHTS, lambda tensors: tensors.pop(QUERY))
    assert "1 adapters fit no weight: action_head.model.blocks.0.self_attn.q.weight" in refusal(
        adapters, base=pristine
    )


def test_foreign_names_are_refused(adapters: Path, pristine: Path):
    edit(adapters / WEIGHTS, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(1)}))
    assert "expected names that begin with 'base_model.model.', got lm_head.weight" in refusal(
        adapters, base=pristine
    )


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_each_file_needs_the_other(adapters: Path, pristine: Path, name: str):
    (adapters / name).unlink()
    assert f"expected {name} beside" in refusal(adapters, base=pristine)


def test_adapters_beside_a_whole_checkpoint_are_no_silent_choice(folder: Path, saved: Path):
    (folder / CONFIG).write_bytes((saved / CONFIG).read_bytes())
    assert f"got model.safetensors beside {CONFIG}" in refusal(folder)


def test_an_alpha_beside_that_of_the_file_is_refused(adapters: Path, pristine: Path):
    with pytest.raises(CheckpointError, match="lora_alpha: expected none"):
        load_engine(adapters, "cpu", torch.float32, base=pristine, lora_alpha=4.0)
