# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands have."""

from __future__ import annotations

import argparse
from functools import partial


def add_robot(parser: argparse.ArgumentParser) -> None:
    """Which robot, and where its streams are in a bag."""
    add = parser.add_argument
    add(
        "--embodiment",
        required=True,
        help="a shipped robot such as droid_franka, or the path of a robot file",
    )
    add(
        "--parameter",
        action="append",
        default=[],
        type=partial(pair, "="),
        metavar="NAME=VALUE",
        help="a parameter of the robot file, such as arm=fr3; may be repeated",
    )
    add(
        "--topic",
        action="append",
        default=[],
        type=partial(pair, ":="),
        metavar="STREAM:=TOPIC",
        help="another topic for a camera, joint_states or a controller; may be repeated",
    )
    add("--namespace", default="/", help="namespace of the relative topics of the robot file (%(default)s)")


def pair(separator: str, text: str) -> tuple[str, str]:
    """Splits NAME=VALUE.

    Raises:
        argparse.ArgumentTypeError: A part of it is missing.
    """
    name, found, value = text.partition(separator)
    if not (name and found and value):
        raise argparse.ArgumentTypeError(f"expected NAME{separator}VALUE, got {text!r}")
    return name, value
