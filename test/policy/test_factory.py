# SPDX-License-Identifier: Apache-2.0
"""The policy that parameters name."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import ALPHA, adapt, edit_json
from spawned import gone, meetings, ranks_of

from dreamzero_ros.embodiment.frame import make_example
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.config import SamplerConfig
from dreamzero_ros.engine.weights import random_engine, save_checkpoint
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters

pytestmark = pytest.mark.cpu


def test_stand_ins_need_nothing_of_the_model() -> None:
    """Its libraries take seconds to import, and more memory than all the rest."""
    program = """
import sys
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters
for policy in ("hold", "wave"):
    make_policy(PolicyParameters(policy=policy), load("droid_franka"), lambda: 0)
print(sorted({"torch", "transformers", "diffusers", "torchao"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_python_without_the_model_s_libraries_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes run in the Python that colcon ran in, which is the system's unless told otherwise."""
    monkeypatch.delitem(sys.modules, "dreamzero_ros.policy.dreamzero_factory", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    words = f"needs torch, which {sys.executable} does not have: .* `python3 -m colcon build`"
    with pytest.raises(ValueError, match=words):
        make_policy(UNTRAINED, load("droid_franka"), lambda: 0)


def test_adapters_get_the_scale_that_their_checkpoint_does_not_tell(tmp_path: Path) -> None:
    base, adapters = tmp_path / "base", tmp_path / "adapters"
    for folder in (base, adapters):
        save_checkpoint(random_engine("tiny", "cpu", torch.float32, seed=1), folder)
    adapt(adapters)
    edit_json(adapters / "config.json", lambda c: c["action_head_cfg"]["config"].pop("lora_alpha"))
    parameters = PolicyParameters(
        checkpoint=str(adapters), base_checkpoint=str(base), device="cpu", dtype="float32"
    )
    robot = load("droid_franka")
    with pytest.raises(CheckpointError, match="set lora_alpha"):
        make_policy(parameters, robot, lambda: 0)
    with pytest.raises(CheckpointError, match="no statistics"):  # the next thing that it lacks
        make_policy(dataclasses.replace(parameters, lora_alpha=ALPHA), robot, lambda: 0)


def test_a_trained_model_is_not_run_on_made_up_statistics(tmp_path: Path) -> None:
    save_checkpoint(random_engine("tiny", "cpu", torch.float32), tmp_path / "checkpoint")
    parameters = PolicyParameters(checkpoint=str(tmp_path / "checkpoint"), device="cpu", dtype="float32")
    with pytest.raises(CheckpointError, match=r"metadata\.json is missing, so there are no statistics"):
        make_policy(parameters, load("droid_franka"), lambda: 0)


UNTRAINED = PolicyParameters(random_weights="tiny", device="cpu", dtype="float32")


def test_speed_ups_are_named_by_the_policy_that_has_them() -> None:
    robot = load("droid_franka")
    for speedups, words in (
        ("eager", "none"),
        ("trim_guidance,batch_guidance", "batch_guidance, trim_guidance"),
        ("pick_attention", r"pick_attention; attention: \w+ \S+ ms \(\w+ \S+ ms\)"),
    ):
        policy, _ = make_policy(dataclasses.replace(UNTRAINED, speedups=speedups), robot, lambda: 0)
        assert re.search(f"speed-ups: {words}$", policy.name)
    with pytest.raises(
        ValueError, match=r"parameter speedups: unknown speed-up 'exakt': .* nearest is 'exact'"
    ):
        make_policy(dataclasses.replace(UNTRAINED, speedups="exakt"), robot, lambda: 0)
    with pytest.raises(ValueError, match=r"speed-up graphs: .* the model runs on cpu; leave graphs out"):
        make_policy(dataclasses.replace(UNTRAINED, speedups="exact,graphs"), robot, lambda: 0)


def test_fewer_bits_are_named_as_they_are_stored() -> None:
    pytest.importorskip("torchao", reason="torchao is not installed: requirements/torchao.txt")
    chosen = dataclasses.replace(UNTRAINED, linear_format="fp8", offload_text_encoder=True)
    policy, _ = make_policy(chosen, load("droid_franka"), lambda: 0)
    assert "linear layers fp8: 14 x Float8Tensor, " in policy.name
    with pytest.raises(ValueError, match=r"'nvfp4' needs a CUDA device .* this is cpu; choose 'fp8_weights'"):
        make_policy(dataclasses.replace(UNTRAINED, linear_format="nvfp4"), load("droid_franka"), lambda: 0)


@pytest.mark.slow
def test_without_a_compiler_compiled_blocks_are_refused_in_words(tmp_path: Path) -> None:
    """In a process of its own, as what was compiled once is kept."""
    program = """
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.policy.factory import make_policy
from dreamzero_ros.policy.policy_parameters import PolicyParameters
make_policy(
    PolicyParameters(random_weights="tiny", device="cpu", dtype="float32", speedups="compile"),
    load("droid_franka"),
    lambda: 0,
)
"""
    without = {
        "CXX": str(tmp_path / "g++"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | without, capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: parameter speedups: compile does not work here: InvalidCxxCompiler")
    assert last.endswith("install a compiler (apt install g++), or set speedups:=exact")


def test_one_step_is_for_checkpoints_trained_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load("droid_franka")
    frame = make_example(robot, np.random.default_rng(0), images=1)
    one = dataclasses.replace(UNTRAINED, dit_steps="1")
    with pytest.raises(ValueError, match=r"parameter dit_steps: .* not trained .* with force_one_step:=true"):
        make_policy(one, robot, lambda: 0)
    forced, _ = make_policy(dataclasses.replace(one, force_one_step=True), robot, lambda: 0)
    assert forced.infer(frame).computed_steps == 1

    engine = random_engine("tiny", "cpu", torch.float32)
    trained = dataclasses.replace(engine, sampler=SamplerConfig(video_final_noise=0.8))
    monkeypatch.setattr("dreamzero_ros.policy.dreamzero_factory.random_engine", lambda *_, **__: trained)
    policy, _ = make_policy(one, robot, lambda: 0)
    np.testing.assert_allclose(policy.infer(frame).targets, forced.infer(frame).targets)


@pytest.mark.parametrize(("similarity", "computed"), [(0.5, 4), (1.0, 16)])
def test_the_threshold_of_the_dynamic_rule_decides_how_much_is_skipped(
    similarity: float, computed: int
) -> None:
    """Random weights change their flow little: at the lowest threshold as much is skipped as ever can be."""
    robot = load("droid_franka")
    parameters = dataclasses.replace(UNTRAINED, dit_steps="dynamic", similarity=similarity)
    policy, _ = make_policy(parameters, robot, lambda: 0)
    assert policy.infer(make_example(robot, np.random.default_rng(0), images=1)).computed_steps == computed


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where processes that share a policy meet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_several_devices_answer_as_one_does_and_leave_nothing(meeting: Path) -> None:
    robot = load("droid_franka")
    rng = np.random.default_rng(1)
    frames = [make_example(robot, rng, images) for images in (1, 4, 4)]
    alone, _ = make_policy(UNTRAINED, robot, lambda: 0)
    shared, warm_s = make_policy(dataclasses.replace(UNTRAINED, device="cpu,cpu"), robot, lambda: 0)
    assert shared.name == f"{alone.name}; on 2 devices: guidance split" and warm_s > 0
    pids = ranks_of(os.getpid())
    assert len(pids) == 1
    for frame in frames:
        if frame is frames[-1]:
            shared.look_ahead({camera: images[:2] for camera, images in frame.images.items()})
        chunk, expected = shared.infer(frame), alone.infer(frame)
        np.testing.assert_allclose(chunk.targets, expected.targets, atol=1e-5)
        assert chunk.context_frames == expected.context_frames
    assert "video_rest" in chunk.latency_s, "what was looked at ahead was used"
    assert shared.imagined().shape == alone.imagined().shape
    shared.close()
    assert all(map(gone, pids)) and not meetings(meeting)


def test_a_robot_that_does_not_fit_leaves_no_rank_behind(meeting: Path) -> None:
    robot = dataclasses.replace(load("droid_franka"), horizon=48)
    with pytest.raises(ValueError, match="horizon: 24"):
        make_policy(dataclasses.replace(UNTRAINED, device="cpu,cpu"), robot, lambda: 0)
    assert not ranks_of(os.getpid()) and not meetings(meeting)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"device": "cuda:0,cuda:7"},
            "parameter device: 'cuda:.', but torch sees .* CUDA devices; .* device:=cpu",
        ),
        (
            {"device": "cpu,cpu", "speedups": "exact,graphs"},
            "parameter speedups: graphs are for one device; leave",
        ),
        ({"device": "gpu"}, "parameter device: expected cuda, cuda:1 or cpu, or several with commas"),
        ({"device": "cpu,cpu", "guidance_scale": 1.0}, "parameter device: .* 3 heads cannot be divided by 2"),
    ],
)
def test_devices_that_cannot_be_used(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_policy(dataclasses.replace(UNTRAINED, **changes), load("droid_franka"), lambda: 0)
