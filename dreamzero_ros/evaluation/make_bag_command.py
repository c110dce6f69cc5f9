# SPDX-License-Identifier: Apache-2.0
"""The subcommand that makes a recording of videos."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.make_bag import START_NS, make_bag
from dreamzero_ros.evaluation.messages import NS_PER_S
from dreamzero_ros.evaluation.options import add_robot
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.evaluation.table import WIDTH
from dreamzero_ros.sim.footage import Footage

MADE, NOT_MADE, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""
SUFFIX = ".mcap"
LATEST_S = 2_000_000_000
"""Stamps count seconds in 32 bits."""

MAKE_BAG_HELP = """\
Makes a recording of videos, to try an evaluation with before there is one of a robot.

The folder holds one video per camera of the robot file, named like it (wrist_image_left.mp4; avi, mkv and mov
do as well), all of one length and frame rate, in a codec that OpenCV decodes, such as H.264 (not AV1). Their
images are written as CompressedImage on the topics of the cameras, with the joint states of a simulated arm
that waves gently, the trajectories that moved it, and robot_description. The arm has nothing to do with what
the videos show. The same videos always make the same recording.

examples:
  dreamzero-evaluate make-bag droid_clip/ --embodiment droid_franka --out clip.mcap
  dreamzero-evaluate make-bag droid_clip/ --embodiment droid_franka --parameter arm=fr3 --zstd --out fr3.mcap
"""
MAKE_BAG_EPILOG = (
    "exit codes: 0 made, 1 the videos cannot be used or the file cannot be written, 2 wrong usage"
)


def add_make_bag(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the arguments of the subcommand."""
    parser.add_argument("folder", type=Path, help="folder with one video per camera")
    parser.add_argument(
        "--out", type=_new_file, required=True, help="the recording; a new file that ends in .mcap"
    )
    parser.add_argument(
        "--start",
        type=_start_ns,
        default=START_NS,
        metavar="S",
        help=f"when it begins [s since 1970] ({START_NS // NS_PER_S})",
    )
    parser.add_argument("--zstd", action="store_true", help="compress it; images already are")
    add_robot(parser)


def run_make_bag(options: argparse.Namespace) -> int:
    """Makes the recording; returns the exit code."""
    console, errors = Console(width=WIDTH), Console(width=WIDTH, stderr=True)
    try:
        robot = load(options.embodiment, dict(options.parameter))
        wanted = streams(robot, dict(options.topic), options.namespace)
    except ValueError as error:
        errors.print(Text(str(error), "bold red"))
        return USAGE
    try:
        footage = Footage(options.folder, [camera.name for camera in robot.cameras])
        progress = partial(tqdm, total=footage.length, disable=None, unit=" image sets", leave=False)
        make_bag(
            footage,
            robot,
            wanted,
            options.out,
            start_ns=options.start,
            zstd=options.zstd,
            progress=progress,
        )
    except KeyboardInterrupt:
        errors.print(f"interrupted: {options.out} was not written")
        return INTERRUPTED
    except (ValueError, OSError) as error:
        errors.print(Text(str(error), "bold red"))
        return NOT_MADE
    console.print(f"The recording: {options.out}, {footage.length / footage.rate_hz:.1f} s", soft_wrap=True)
    return MADE


def _new_file(text: str) -> Path:
    path = Path(text)
    if path.suffix != SUFFIX:
        raise argparse.ArgumentTypeError(f"expected a file that ends in {SUFFIX}, got {text!r}")
    if path.exists():
        raise argparse.ArgumentTypeError(f"expected a new file, got {text!r}, which exists")
    return path


def _start_ns(text: str) -> int:
    """A time that fits into a stamp, with room for the recording."""
    try:
        start_s = float(text)
    except ValueError:
        start_s = math.nan
    if not 1 <= start_s <= LATEST_S:
        raise argparse.ArgumentTypeError(f"expected seconds from 1 to {LATEST_S}, got {text!r}")
    return round(start_s * NS_PER_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry of `ros2 run dreamzero_ros make_bag`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="make_bag",
        description=MAKE_BAG_HELP,
        epilog=MAKE_BAG_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_make_bag(parser)
    return run_make_bag(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
