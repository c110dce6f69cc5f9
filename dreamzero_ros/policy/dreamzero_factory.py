# SPDX-License-Identifier: Apache-2.0
"""The model that parameters name, on the devices that they name."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import Any, Literal, cast

import torch
from torch._dynamo.exc import TorchDynamoException

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.checkpoint import find_folder
from dreamzero_ros.engine.config import LinearFormat, SamplerConfig
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.engine.rank_processes import RankProcesses, Work, patience_s
from dreamzero_ros.engine.session import guidance_scale
from dreamzero_ros.engine.sharing import Sharing, parse_devices, require_present, share_work
from dreamzero_ros.engine.stepcache import one_step
from dreamzero_ros.engine.switches import Switches, parse_switches
from dreamzero_ros.engine.weights import inspect_checkpoint, load_engine, meta_engine, random_engine
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.dreamzero import DreamZeroPolicy
from dreamzero_ros.policy.policy_parameters import DYNAMIC, ONE, PolicyParameters

LESS_SIMILAR = 0.02
"""How far below the similarity above which four steps are skipped two still are; the release's."""


def make_dreamzero(parameters: PolicyParameters, embodiment: Embodiment) -> tuple[Policy, float]:
    """Loads and warms up the model; returns its policy with the duration of a warm call [s].

    Raises:
        ValueError: The parameters do not name a model that can run here; says what to set.
    """
    if bool(parameters.checkpoint) == bool(parameters.random_weights):
        raise ValueError(
            "exactly one of the parameters checkpoint and random_weights must be set: checkpoint:=<folder or "
            "hub id> for a trained model, random_weights:=tiny for a trial without one"
        )
    devices = _devices(parameters)
    try:
        require_present(devices)
    except ValueError as error:
        raise ValueError(f"parameter device: {error}; for the CPU set device:=cpu") from error
    if len(devices) > 1:
        return _shared_policy(parameters, embodiment, devices[0])
    work = _load_work(parameters, devices[0])
    policy = DreamZeroPolicy(work.engine, embodiment, work.sampler, work.switches)
    return policy, _warm_up(policy)


def _shared_policy(
    parameters: PolicyParameters, embodiment: Embodiment, device: torch.device
) -> tuple[Policy, float]:
    """The policy on several devices, of which this process has the first."""
    if parameters.checkpoint:
        find_folder(parameters.checkpoint)  # fetched once, not by every process
    sharing = sharing_of(parameters, inspect(parameters))
    timeout_s = patience_s(_speedups(parameters.speedups))
    with ExitStack() as stack:
        told = {"parameters": dataclasses.asdict(parameters)}
        others = RankProcesses(sharing, load_told, told, timeout_s)
        stack.callback(others.close)
        work = _load_work(parameters, device)
        policy = DreamZeroPolicy(work.engine, embodiment, work.sampler, work.switches, others.open_session)
        stack.callback(policy.close)
        policy.name += f"; {sharing.in_words()}"
        warm_s = _warm_up(policy)
        stack.pop_all()
    return policy, warm_s


def inspect(parameters: PolicyParameters) -> Engine:
    """The engine that the parameters name, without its weights, which must be on this machine.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ValueError: There is no such variant.
    """
    if parameters.random_weights:
        return meta_engine(parameters.random_weights)
    base, alpha = parameters.base_checkpoint or None, parameters.lora_alpha or None
    return inspect_checkpoint(parameters.checkpoint, getattr(torch, parameters.dtype), base, alpha)


def sharing_of(parameters: PolicyParameters, engine: Engine) -> Sharing:
    """How the devices that the parameters name share a session of an engine.

    Raises:
        ValueError: They cannot, or the sampler does not fit; says what to set.
    """
    devices, speedups = _devices(parameters), _speedups(parameters.speedups)
    if len(devices) > 1 and speedups.graphs:
        raise ValueError("parameter speedups: graphs are for one device; leave them out, or name one device")
    guided = guidance_scale(_sampler(parameters, engine), speedups) != 1
    try:
        return share_work(devices, guided, engine.config.transformer.num_heads)
    except ValueError as error:
        raise ValueError(f"parameter device: {error}") from error


def load_told(device: str, parameters: dict[str, Any]) -> Work:
    """Loads the model on a device as another process was told to: all parameters by name."""
    return _load_work(PolicyParameters(**parameters), torch.device(device))


def _load_work(parameters: PolicyParameters, device: torch.device) -> Work:
    speedups = _speedups(parameters.speedups)
    engine = _engine(parameters, device)
    return Work(engine, _sampler(parameters, engine), speedups)


def _engine(parameters: PolicyParameters, device: torch.device) -> Engine:
    dtype = getattr(torch, parameters.dtype)
    kept: dict[str, Any] = {
        "linear_format": cast("LinearFormat", parameters.linear_format),
        "offload_text": parameters.offload_text_encoder,
    }
    if not parameters.checkpoint:
        return random_engine(parameters.random_weights, device, dtype, **kept)
    base, alpha = parameters.base_checkpoint or None, parameters.lora_alpha or None
    return load_engine(parameters.checkpoint, device, dtype, base, alpha, **kept)


def _warm_up(policy: DreamZeroPolicy) -> float:
    try:
        return policy.warm_up()
    except TorchDynamoException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"parameter speedups: compile does not work here: {reason}; install a compiler "
            "(apt install g++), or set speedups:=exact"
        ) from error


def _sampler(parameters: PolicyParameters, engine: Engine) -> SamplerConfig:
    sampler = dataclasses.replace(
        engine.sampler,
        guidance_scale=parameters.guidance_scale,
        seed=parameters.seed,
        similarity_skips=((parameters.similarity, 4), (parameters.similarity - LESS_SIMILAR, 2)),
    )
    if parameters.dit_steps == ONE:
        try:
            return one_step(sampler, engine.source, parameters.force_one_step)
        except ValueError as error:
            raise ValueError(f"parameter dit_steps: {error} with force_one_step:=true") from error
    steps: int | Literal["dynamic"] = (
        DYNAMIC if parameters.dit_steps == DYNAMIC else int(parameters.dit_steps)
    )
    return dataclasses.replace(sampler, dit_steps=steps)


def _devices(parameters: PolicyParameters) -> tuple[torch.device, ...]:
    try:
        return parse_devices(parameters.device)
    except ValueError as error:
        raise ValueError(f"parameter device: {error}") from error


def _speedups(text: str) -> Switches:
    try:
        return parse_switches(text)
    except ValueError as error:
        raise ValueError(f"parameter speedups: {error}") from error
