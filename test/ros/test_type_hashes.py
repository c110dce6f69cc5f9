# SPDX-License-Identifier: Apache-2.0
"""Interfaces of others, installed or built for tests, are those of ROS 2 Jazzy: equal type hashes (RIHS01).

The hash of a type covers the types of its fields.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros

HASHES = {
    "control_msgs/action/FollowJointTrajectory": (
        "738ebcb7a2d7cfa42f9f1001cc99ce3a4383d1cfe508015d9be8485e4b1c66f6"
    ),
    "control_msgs/action/GripperCommand": "e17c0e644eccf14bea84a0a93e0977182872c2eb7873ca6694900059b46dbc84",
    "moveit_msgs/srv/GetStateValidity": "e9fcd24ae0fd8c2f16d4afe397efaf03427d1f899fe91ecf6cb7f7f1c6ca8720",
}
"""Of control_msgs 5.8.0 and moveit_msgs 2.6.0."""


@pytest.mark.parametrize("name", HASHES)
def test_the_type_is_that_of_jazzy(name: str) -> None:
    package, kind, interface = name.split("/")
    spec = find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed; `make test` builds what tests need of it")
    share = next(
        folder / "share" / package
        for folder in Path(spec.origin).parents
        if (folder / "share" / package).is_dir()
    )
    description = json.loads((share / kind / f"{interface}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert hashes[name] == f"RIHS01_{HASHES[name]}"
