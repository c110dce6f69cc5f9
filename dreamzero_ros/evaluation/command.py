# SPDX-License-Identifier: Apache-2.0
"""Looks at bags with the eyes of a robot's policy. Needs no ROS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from dreamzero_ros.embodiment.load import EmbodimentError, load
from dreamzero_ros.evaluation.bag import Bag, recordings
from dreamzero_ros.evaluation.compare_command import (
    COMPARE_EPILOG,
    COMPARE_HELP,
    add_compare,
    run_compare,
)
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.inspection import inspect
from dreamzero_ros.evaluation.make_bag_command import (
    MAKE_BAG_EPILOG,
    MAKE_BAG_HELP,
    add_make_bag,
    run_make_bag,
)
from dreamzero_ros.evaluation.options import add_robot
from dreamzero_ros.evaluation.run_command import RUN_EPILOG, RUN_HELP, add_run
from dreamzero_ros.evaluation.run_command import run as run_bags
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.evaluation.table import WIDTH, print_inspection

USABLE, NOT_USABLE, USAGE = 0, 1, 2
"""Exit codes."""

INSPECT_HELP = """\
Reads a bag once and says what is in it, what of it a robot's policy would use, and what stands in the way.

A robot file names what is looked for:
  cameras       one topic each, sensor_msgs/Image or CompressedImage
  joint states  joint_states, with all joints of the robot file, in one message or several
  commands      <controller>/joint_trajectory; joints whose positions none says are compared with later
                joint states

examples:
  dreamzero-evaluate inspect session1/ --embodiment droid_franka
  dreamzero-evaluate inspect session1.mcap --embodiment droid_franka --parameter arm=fr3
  dreamzero-evaluate inspect session1.mcap --embodiment my_robot.yaml --namespace left_arm \\
      --topic wrist_image_left:=/wrist/color/image_raw/compressed --topic joint_states:=/robot/joint_states
"""
INSPECT_EPILOG = """\
the columns:
  gaps, longest     times without a message in which a frame would lack the stream, by its tolerance in
                    the robot file; and the longest time between two messages
  log - stamp       how long after its stamp a message was recorded, least to most; a wide range means
                    that a clock has jumped, or that the recorder was late
  content           sizes and encodings of images, or joints; what of it cannot be used is counted in a note

Messages are judged as the policy node judges them: positions that are not finite, in degrees or of two
publishers that disagree, images in an encoding without colors or without an end.

A recording is a folder with metadata.yaml, a file, or a folder of files that follow one another within 1 s.
Where stamps are on another clock than the log (simulation, TAI), it is played on theirs, which is said. What
was logged more than 60 s away from the robot's own messages takes no part.

exit codes: 0 usable, 1 not usable (the reasons are printed), 2 wrong usage
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dreamzero-evaluate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, summary, text, epilog, add, run in _COMMANDS:
        subparser = commands.add_parser(
            name,
            help=summary,
            description=text,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(subparser)
        subparser.set_defaults(run=run)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bag", type=Path, help="rosbag2 folder, or a single .mcap, .db3 or .bag file; compressed or not")
    add_robot(parser)


def _inspect(options: argparse.Namespace) -> int:
    console, errors = Console(width=WIDTH), Console(width=WIDTH, stderr=True)
    try:
        robot = load(options.embodiment, dict(options.parameter))
        wanted = streams(robot, dict(options.topic), options.namespace)
    except (EmbodimentError, ValueError) as error:
        errors.print(Text(str(error), "bold red"))
        return USAGE
    try:
        (path, *others) = recordings(options.bag)
        if others:
            names = ", ".join(found.name for found in (path, *others))
            fix = "name one of them; run takes the folder"
            raise BagError(options.bag, "folder", "one recording", f"{len(others) + 1}: {names}", fix)
        with Bag(path) as bag:
            inspection = inspect(
                bag, robot, wanted, partial(tqdm, disable=None, unit=" messages", leave=False)
            )
            print_inspection(console, bag, inspection)
    except BagError as error:
        errors.print(Text(str(error), "bold red"))
        return NOT_USABLE
    return USABLE if inspection.usable else NOT_USABLE


_COMMANDS = (
    (
        "inspect",
        "what is in a bag, and whether it can be used",
        INSPECT_HELP,
        INSPECT_EPILOG,
        _add_inspect,
        _inspect,
    ),
    ("run", "what a policy would have done on bags, as a report", RUN_HELP, RUN_EPILOG, add_run, run_bags),
    (
        "compare",
        "what changed from one evaluation to another, and whether it may be chance",
        COMPARE_HELP,
        COMPARE_EPILOG,
        add_compare,
        run_compare,
    ),
    (
        "make-bag",
        "a recording of videos, for a first try",
        MAKE_BAG_HELP,
        MAKE_BAG_EPILOG,
        add_make_bag,
        run_make_bag,
    ),
)
"""Name, summary, help, what follows it, and the functions that add its arguments and run it."""

if __name__ == "__main__":
    sys.exit(main())
