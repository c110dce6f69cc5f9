# SPDX-License-Identifier: Apache-2.0
"""The policy that parameters name: the model, or a stand-in, which needs nothing of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.policy.base import Policy
from dreamzero_ros.policy.delayed import DelayedPolicy
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.stand_ins import HoldPolicy, ReplayPolicy
from dreamzero_ros.policy.wave import WavePolicy


def make_policy(
    parameters: PolicyParameters, embodiment: Embodiment, now_ns: Callable[[], int]
) -> tuple[Policy, float]:
    """Loads and warms up the policy; returns it with the duration of a warm call [s].

    Args:
        parameters: Name the policy.
        embodiment: The robot.
        now_ns: Time now on the ROS clock [ns].

    Raises:
        ValueError: The parameters do not name a policy that can run here; says what to set.
    """
    policy, warm_s = _named_policy(parameters, embodiment)
    added_s = parameters.added_latency_s
    return (DelayedPolicy(policy, added_s, now_ns), warm_s + added_s) if added_s else (policy, warm_s)


def share_cores(processes: int) -> None:
    """Lets the model of this process use its part of the cores where so many processes run one."""
    import torch  # takes seconds

    torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def _named_policy(parameters: PolicyParameters, embodiment: Embodiment) -> tuple[Policy, float]:
    if parameters.policy == "hold":
        return HoldPolicy(embodiment), 0.0
    if parameters.policy == "wave":
        return WavePolicy(embodiment, parameters.seed), 0.0
    if parameters.policy == "replay":
        return ReplayPolicy.of_run(embodiment, Path(parameters.recording)), 0.0
    try:
        from dreamzero_ros.policy.dreamzero_factory import make_dreamzero  # takes seconds
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the model needs {error.name}, which {sys.executable} does not have: install "
            "requirements/common.txt into a virtual environment, and while it is active build this package "
            "with `python3 -m colcon build`"
        ) from error
    return make_dreamzero(parameters, embodiment)
