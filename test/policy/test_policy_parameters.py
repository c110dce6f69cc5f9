# SPDX-License-Identifier: Apache-2.0
"""The policy that parameters name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from checkpoints import ALPHA, adapt, edit_json

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.engine.checkpoint import CheckpointError
from dreamzero_ros.engine.weights import random_engine, save_checkpoint
from dreamzero_ros.policy.policy_parameters import PolicyParameters, make_policy

pytestmark = pytest.mark.cpu


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
