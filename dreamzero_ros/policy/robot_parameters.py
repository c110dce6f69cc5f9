# SPDX-License-Identifier: Apache-2.0
"""The parameters that name a robot, the same on every node."""

from __future__ import annotations

from dataclasses import dataclass

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.policy.parameters import setting


@dataclass(frozen=True)
class RobotParameters:
    """Which robot file, and with which of its parameters."""

    embodiment: str = setting(
        "droid_franka", "Robot: name of a shipped robot file, or path of a .yaml or .yml file."
    )
    embodiment_parameters: list[str] = setting(
        [""], "Parameters of the robot file as key=value, for example arm=fr3; empty strings are passed over."
    )

    def load(self) -> Embodiment:
        """Reads the robot file.

        Raises:
            ValueError: It cannot be used, or an entry of `embodiment_parameters` is not key=value.
        """
        pairs = [entry.split("=", 1) for entry in self.embodiment_parameters if entry]
        wrong = [pair for pair in pairs if len(pair) != 2]
        if wrong:
            raise ValueError(f"parameter embodiment_parameters: got {wrong[0][0]!r}, expected key=value")
        return load(self.embodiment, dict(pairs))
