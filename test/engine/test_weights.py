# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the layout of the reference release: written, read, looked into."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from checkpoints import (
    ADAPTED,
    ALPHA,
    METADATA,
    QUERY,
    RUN_CONFIG,
    SHARD_BYTES,
    Tensors,
    adapt,
    adapters,
    edit,
    edit_json,
    outputs,
    refusal,
    sizes_of,
)
from safetensors.torch import load_file, save_file

from dreamzero_ros.engine.assembly import parts
from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.config import TINY, VARIANTS, SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.session import Session
from dreamzero_ros.engine.weights import inspect_checkpoint, load_engine, random_engine, save_checkpoint

pytestmark = pytest.mark.cpu


# Round trips


def test_a_loaded_engine_computes_the_same_bits(engine: Engine, pristine: Path) -> None:
    loaded = load_engine(pristine, "cpu", torch.float32)
    for expected, found in zip(outputs(engine), outputs(loaded), strict=True):
        assert torch.equal(expected, found)
    assert loaded.metadata == METADATA
    assert loaded.run_config == RUN_CONFIG
    assert loaded.config == engine.config
    assert loaded.source == str(pristine)


def test_shards_load_as_one_file_does(engine: Engine, sharded: Path) -> None:
    names = sorted(path.name for path in sharded.glob("*.safetensors"))
    assert names == [f"model-{i:05}-of-{len(names):05}.safetensors" for i in range(1, len(names) + 1)]
    assert len(names) > 2
    assert not (sharded / "model.safetensors").exists()
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    stored = {key: name for name in names for key in load_file(sharded / name)}
    assert index["weight_map"] == stored
    assert index["metadata"]["total_size"] == sum(
        p.nbytes for part in parts(engine) for p in part.parameters()
    )
    assert all(sum(t.nbytes for t in load_file(sharded / name).values()) <= SHARD_BYTES for name in names)
    for expected, found in zip(
        outputs(engine), outputs(load_engine(sharded, "cpu", torch.float32)), strict=True
    ):
        assert torch.equal(expected, found)


def test_weights_take_the_type_asked_for(engine: Engine, pristine: Path) -> None:
    loaded = load_engine(pristine, "cpu", torch.bfloat16)
    for whole, rounded in zip(parts(engine), parts(loaded), strict=True):
        for name, parameter in rounded.named_parameters():
            assert torch.equal(parameter, whole.get_parameter(name).bfloat16())
            assert not parameter.requires_grad
    assert all(torch.isfinite(output).all() for output in outputs(loaded))


def test_a_parameter_with_two_names_stays_one(pristine: Path) -> None:
    text = load_engine(pristine, "cpu", torch.float32).text_encoder.model
    assert text.encoder.embed_tokens.weight is text.shared.weight


def test_a_loaded_engine_does_not_need_its_files(engine: Engine, folder: Path) -> None:
    loaded = load_engine(folder, "cpu", torch.float32)
    (folder / "model.safetensors").write_bytes(b"\0" * (folder / "model.safetensors").stat().st_size)
    for expected, found in zip(outputs(engine), outputs(loaded), strict=True):
        assert torch.equal(expected, found)


def test_a_checkpoint_is_written_whole_or_not_at_all(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("dreamzero_ros.engine.weights.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(engine, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_overwritten(engine: Engine, folder: Path) -> None:
    with pytest.raises(FileExistsError, match="expected a new or empty folder"):
        save_checkpoint(engine, folder)


@pytest.mark.slow
def test_loading_takes_memory_for_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, because memory is counted at its peak."""
    wide = replace(TINY.transformer, ffn_dim=100_000, num_layers=4)
    monkeypatch.setitem(VARIANTS, "wide", replace(TINY, name="wide", transformer=wide))
    made = random_engine("wide", "cpu", torch.float32)
    save_checkpoint(made, tmp_path / "wide", 100_000_000)
    code = f"""
import re, torch
from dataclasses import replace
from pathlib import Path
from dreamzero_ros.engine.config import TINY, VARIANTS
from dreamzero_ros.engine.weights import load_engine
wide = replace(TINY.transformer, ffn_dim={wide.ffn_dim}, num_layers={wide.num_layers})
VARIANTS["wide"] = replace(TINY, name="wide", transformer=wide)
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
load_engine({str(tmp_path / "wide")!r}, "cpu", torch.float32)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    model = sum(parameter.nbytes for part in parts(made) for parameter in part.parameters())
    assert int(done.stdout) < 1.4 * model


# Random weights


def test_random_weights_follow_from_the_seed() -> None:
    first, again, other = (
        outputs(random_engine("tiny", "cpu", torch.float32, seed=seed)) for seed in (3, 3, 4)
    )
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_random_weights_give_outputs_of_order_one() -> None:
    engine = random_engine("tiny", "cpu", torch.float32)
    actions, video, pictures = outputs(engine)
    assert 0.1 < actions.std() < 10
    assert 0.1 < video.std() < 10
    assert pictures.float().std() > 1
    text = engine.encode_text(*engine.tokenize("pick up the cup"))
    assert 0.1 < text[text != 0].std() < 10


def test_the_prompt_the_images_and_the_state_reach_the_actions() -> None:
    engine = random_engine("tiny", "cpu", torch.float32)
    config = engine.config
    images = torch.zeros(1, 1, config.canvas_height, config.canvas_width, 3, dtype=torch.uint8)
    state = torch.zeros(1, 1, config.transformer.max_state_dim)
    given = [
        (images, state, "go"),
        (images, state, "stop"),
        (images + 200, state, "go"),
        (images, state + 1, "go"),
    ]
    actions = [
        Session(engine, SamplerConfig(num_steps=2, dit_steps=2)).step(*inputs).actions for inputs in given
    ]
    for changed in actions[1:]:
        assert (changed - actions[0]).abs().max() > 1e-3


# Adapters


@pytest.fixture
def adapted(folder: Path) -> tuple[Path, Tensors]:
    """A checkpoint of adapters only, and the weights that it means on top of the pristine one."""
    return folder, adapt(folder)


def assert_weights(engine: Engine, expected: Tensors, tmp_path: Path) -> None:
    save_checkpoint(engine, tmp_path / "found")
    found = load_file(tmp_path / "found" / "model.safetensors")
    assert found.keys() == expected.keys()
    for key, tensor in found.items():
        assert torch.equal(tensor, expected[key].to(tensor.dtype)), key


def test_adapters_are_merged_into_their_base(
    adapted: tuple[Path, Tensors], pristine: Path, tmp_path: Path
) -> None:
    folder, merged = adapted
    blocks = 2
    assert len(load_file(folder / "model.safetensors")) == blocks * len(ADAPTED) * 2 + 14
    assert_weights(load_engine(folder, "cpu", torch.float32, base=pristine), merged, tmp_path)


def test_adapters_are_merged_before_the_weights_are_rounded(
    adapted: tuple[Path, Tensors], pristine: Path, tmp_path: Path
) -> None:
    folder, merged = adapted
    assert_weights(load_engine(folder, "cpu", torch.bfloat16, base=pristine), merged, tmp_path)


def test_a_wrapped_checkpoint_that_holds_its_base_needs_no_other(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    stored, merged = adapters(weights)
    whole: Tensors = {}
    for key, tensor in weights.items():
        wrapped = key.replace("action_head.model.", "action_head.model.base_model.model.", 1)
        if wrapped.replace(".weight", ".lora_A.default.weight") in stored:
            wrapped = wrapped.replace(".weight", ".base_layer.weight")
        whole[wrapped] = tensor
    (folder / "model.safetensors").unlink()
    save_file(whole | stored, folder / "model.safetensors")
    assert_weights(load_engine(folder, "cpu", torch.float32, lora_alpha=ALPHA), merged, tmp_path)


def test_adapters_without_their_base_ask_for_it(adapted: tuple[Path, Tensors]) -> None:
    message = refusal(adapted[0])
    assert "tensors are missing" in message
    assert "adapters only: set base_checkpoint to the checkpoint on which they were trained" in message


def test_adapters_without_a_scale_ask_for_it(adapted: tuple[Path, Tensors], pristine: Path) -> None:
    folder = adapted[0]
    edit_json(folder / "config.json", lambda c: c["action_head_cfg"]["config"].pop("lora_alpha"))
    assert "lora_alpha is missing" in refusal(folder, base=pristine)


@pytest.mark.parametrize("half", ["A", "B"])
def test_half_an_adapter_is_refused(adapted: tuple[Path, Tensors], pristine: Path, half: str) -> None:
    key = f"action_head.model.base_model.model.blocks.1.ffn.0.lora_{half}.default.weight"
    edit(adapted[0] / "model.safetensors", lambda tensors: tensors.pop(key))
    message = refusal(adapted[0], base=pristine)
    assert "1 adapters fit no weight: action_head.model.blocks.1.ffn.0.weight" in message


def tell_base(folder: Path, told: str | None) -> None:
    content = RUN_CONFIG | {"pretrained_model_path": told}
    (folder / "experiment_cfg" / "conf.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    "told",
    ["/home/somebody/checkpoints/Pristine/", "somebody/pristine", "/c/models--a-b--pristine/snapshots/0f3/"],
)
def test_the_base_that_the_run_names_raises_no_doubt(
    adapted: tuple[Path, Tensors], pristine: Path, told: str
) -> None:
    tell_base(adapted[0], told)
    assert inspect_checkpoint(adapted[0], torch.float32, base=pristine).doubts == ()


def test_another_base_than_the_run_names_is_refused(adapted: tuple[Path, Tensors], pristine: Path) -> None:
    """Its tensors fit: adapters of equal shapes exist on different bases."""
    tell_base(adapted[0], "/data/DreamZero-AgiBot")
    message = refusal(adapted[0], base=pristine)
    assert "pretrained_model_path: /data/DreamZero-AgiBot" in message
    assert "got base_checkpoint 'pristine'" in message
    assert message.rpartition("; ")[2].startswith("set base_checkpoint to that checkpoint")
    assert "'/data/DreamZero-AgiBot'" in refusal(adapted[0])


def test_a_base_that_no_run_names_is_in_doubt(adapted: tuple[Path, Tensors], pristine: Path) -> None:
    folder = adapted[0]
    (doubt,) = inspect_checkpoint(folder, torch.float32, base=pristine).doubts
    assert "pretrained_model_path is missing" in doubt and str(pristine) in doubt
    tell_base(folder, None)
    (doubt,) = inspect_checkpoint(folder, torch.float32, base=pristine).doubts
    assert "names none, as of a training that began with raw Wan weights" in doubt
    assert inspect_checkpoint(pristine, torch.float32).doubts == ()


def test_of_a_hub_repository_only_the_checkpoint_is_fetched(
    pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The released repositories also hold engines for other runtimes, tens of gigabytes."""
    from fnmatch import fnmatch

    asked: list[str] = []

    def snapshot(repository: str, allow_patterns: list[str], local_files_only: bool) -> str:
        assert repository == "somebody/some-checkpoint" and not local_files_only
        asked.extend(allow_patterns)
        return str(pristine)

    monkeypatch.setattr("dreamzero_ros.engine.checkpoint.snapshot_download", snapshot)
    load_engine("somebody/some-checkpoint", "cpu", torch.float32)
    wanted = [
        "config.json",
        "model.safetensors",
        "model-00001-of-00010.safetensors",
        "experiment_cfg/conf.yaml",
    ]
    wanted += ["model.safetensors.index.json", "experiment_cfg/metadata.json"]
    wanted += ["adapter_config.json", "adapter_model.safetensors"]
    for name in wanted:
        assert any(fnmatch(name, pattern) for pattern in asked), name
    for name in ("tensorrt/model.plan", "optimizer.pt", "checkpoint-100/model.safetensors"):
        assert not any(fnmatch(name, pattern) for pattern in asked), name


# Inspection


def test_inspection_reads_no_weight(engine: Engine, sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamzero_ros.engine.checkpoint.Stored.read", None)
    found = inspect_checkpoint(sharded, torch.bfloat16)
    assert found.config == engine.config and found.metadata == METADATA and found.source == str(sharded)
    assert all(parameter.is_meta for module in parts(found) for parameter in module.parameters())


def test_inspection_refuses_what_loading_refuses(folder: Path, pristine: Path) -> None:
    edit(folder / "model.safetensors", lambda tensors: tensors.pop(QUERY))
    with pytest.raises(CheckpointError, match=QUERY):
        inspect_checkpoint(folder, torch.float32)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        inspect_checkpoint(folder, torch.float32)
    inspect_checkpoint(pristine, torch.float32)


def test_inspection_finds_the_base_of_adapters(adapted: tuple[Path, Tensors], pristine: Path) -> None:
    inspect_checkpoint(adapted[0], torch.float32, base=pristine)
    with pytest.raises(CheckpointError, match="adapters only"):
        inspect_checkpoint(adapted[0], torch.float32)


def test_inspection_fetches_nothing() -> None:
    with pytest.raises(CheckpointError, match="hf download somebody/no-such-checkpoint"):
        inspect_checkpoint("somebody/no-such-checkpoint", torch.float32)


# Configuration and statistics


def test_fields_of_the_action_head_that_change_nothing_are_left_alone(engine: Engine, folder: Path) -> None:
    """The release's action head has a hidden_size of its own, which is not that of the state encoder."""
    ignored = {"hidden_size": 64_000, "num_inference_timesteps": 4, "dim": 7}
    edit_json(folder / "config.json", lambda c: c["action_head_cfg"]["config"].update(ignored))
    assert load_engine(folder, "cpu", torch.float32).config == engine.config


def test_block_lengths_are_those_of_the_checkpoint(engine: Engine, folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: sizes_of(c).update(num_action_per_block=48, max_chunk_size=2))
    transformer = load_engine(folder, "cpu", torch.float32).config.transformer
    assert transformer == replace(engine.config.transformer, num_action_per_block=48, max_chunk_size=2)


@pytest.mark.parametrize(("decouples", "noise"), [(True, 0.8), (False, None)])
def test_the_sampler_is_that_of_the_checkpoint(folder: Path, decouples: bool, noise: float | None) -> None:
    fields = {"decouple_inference_noise": decouples, "video_inference_final_noise": 0.8}
    edit_json(folder / "config.json", lambda c: c["action_head_cfg"]["config"].update(fields))
    loaded = load_engine(folder, "cpu", torch.float32)
    assert loaded.sampler == SamplerConfig(video_final_noise=noise)


def test_the_sampler_is_written(engine: Engine, tmp_path: Path) -> None:
    sampler = SamplerConfig(video_final_noise=0.7)
    save_checkpoint(replace(engine, sampler=sampler), tmp_path / "flash")
    assert load_engine(tmp_path / "flash", "cpu", torch.float32).sampler == sampler


def test_the_statistics_of_a_tag_are_handed_out(engine: Engine) -> None:
    assert engine.require_tag("yam") == METADATA["yam"]


def test_a_checkpoint_of_another_embodiment_names_those_it_has(engine: Engine) -> None:
    with pytest.raises(CheckpointError, match="knows no embodiment 'agibot', only 'oxe_droid', 'yam'"):
        engine.require_tag("agibot")


def test_missing_statistics_are_told_when_they_are_needed(folder: Path) -> None:
    """A robot file may bring its own, so a checkpoint without them still loads."""
    shutil.rmtree(folder / "experiment_cfg")
    loaded = load_engine(folder, "cpu", torch.float32)
    assert loaded.run_config is None
    with pytest.raises(CheckpointError, match=r"metadata\.json is missing.* a base for post-training"):
        loaded.require_tag("oxe_droid")
