# SPDX-License-Identifier: Apache-2.0
"""Robot file, checkpoint and statistics; no weight is read."""

from __future__ import annotations

from pathlib import Path

from dreamzero_ros.embodiment.metadata import range_doubts
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.engine.checkpoint import CheckpointError, first
from dreamzero_ros.engine.engine import Engine
from dreamzero_ros.policy.dreamzero import statistics_for, training_doubts
from dreamzero_ros.policy.dreamzero_factory import inspect
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.ros.check.rows import Row, failed, failed_with, passed, warned


def check_robot(parameters: PolicyParameters) -> tuple[Embodiment | None, list[Row]]:
    """Reads the robot file; None where it cannot be used."""
    try:
        robot = parameters.load()
    except ValueError as error:
        return None, [failed_with("robot file", error, "correct the robot file or its parameters")]
    horizon_s = robot.horizon * robot.dt_s
    chosen = " ".join(entry for entry in parameters.embodiment_parameters if entry)
    return robot, [
        passed(
            "robot file",
            f"{robot.name}{' with ' + chosen if chosen else ''}: {len(robot.cameras)} cameras, "
            f"{len(robot.state_joints)} joints, {len(robot.controllers)} controllers; chunks of "
            f"{robot.horizon} targets at {robot.control_rate_hz:g} Hz, {horizon_s:.2g} s",
        )
    ]


def check_checkpoint(parameters: PolicyParameters, robot: Embodiment) -> tuple[Engine | None, list[Row]]:
    """Looks whether the weights are there and fit the robot.

    Returns:
        The engine without its weights, None where there is none or no use of one; and the rows.
    """
    if parameters.policy == "replay" and not Path(parameters.recording).is_file():
        finding = f"replay of {parameters.recording!r}: there is no such file"
        return None, [failed("policy", finding, "recording:=<run.json of a demo>")]
    if parameters.policy != "dreamzero":
        return None, [passed("policy", f"{parameters.policy}: no weights are needed")]
    if bool(parameters.checkpoint) == bool(parameters.random_weights):
        finding = "both are set" if parameters.checkpoint else "neither is set"
        fix = "checkpoint:=<folder or hub id>, or random_weights:=tiny for a trial without weights"
        return None, [failed("checkpoint", f"checkpoint, random_weights: {finding}, one is needed", fix)]
    try:
        engine, found = _engine(parameters)
    except (CheckpointError, OSError, ValueError) as error:
        return None, [failed_with("checkpoint", error, "name a complete checkpoint of a known variant")]
    return engine, [found, *_check_statistics(engine, robot)]


def _engine(parameters: PolicyParameters) -> tuple[Engine, Row]:
    engine = inspect(parameters)
    if parameters.random_weights:
        return engine, passed("checkpoint", f"{engine.config.name} with random weights: a trial, not skill")
    finding = f"{engine.source}: {engine.config.name}, every tensor is there with its shape"
    if engine.doubts:
        fix = "ask whoever trained them; try it with dry_run:=true or on a recording first"
        return engine, warned("checkpoint", f"{finding}. {first(list(engine.doubts))}", fix)
    return engine, passed("checkpoint", finding)


def _check_statistics(engine: Engine, robot: Embodiment) -> list[Row]:
    what = "statistics"
    try:
        statistics = statistics_for(engine, robot)
    except (CheckpointError, ValueError) as error:
        return [failed_with(what, error, "use a checkpoint that was trained for this robot")]
    if robot.statistics is None and not engine.trained:
        return [passed(what, "none in random weights: made of the joint limits")]
    doubts = range_doubts(robot, statistics)
    source = robot.statistics or "the checkpoint"
    untrained = training_doubts(engine, robot)
    if untrained:
        fix = "use a checkpoint that was trained for this robot"
        return [warned(what, f"{robot.tag} of {source}. {untrained[0]}", fix)]
    if doubts:
        fix = "compare units, gripper mapping, order and limits of the joints in the robot file"
        return [warned(what, f"{robot.tag} of {source}: {first(doubts)}", fix)]
    return [passed(what, f"{robot.tag} of {source}: fit the joint limits of the robot file")]
