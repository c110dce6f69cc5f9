# SPDX-License-Identifier: Apache-2.0
"""Measures everything that the package owes of a GPU, and writes one page about it.

Needs Python, torch and the wheels of `make gpu-wheels`; no ROS, no network, no weights. Interrupted or out of
time, what was measured until then stays.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dreamzero_ros.bench.gpu.runner import BUDGET_S, Report
from dreamzero_ros.bench.gpu.sizes import SIZES, usual_sizes
from dreamzero_ros.bench.gpu.stages import STAGES, chosen_stages
from dreamzero_ros.engine.sharing import parse_devices, require_present

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of shells."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry; the exit code is 0 if all stages that could run passed, 1 if one did not."""
    parser = argparse.ArgumentParser(
        prog="dreamzero-bench gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 all that could run passed, 1 a stage failed, 2 wrong use, 130 interrupted",
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu for a trial (default: cuda)")
    parser.add_argument("--out", type=Path, default=Path("gpu_report"), help="folder (default: gpu_report)")
    parser.add_argument(
        "--budget", type=float, default=BUDGET_S, help="seconds for all (default: %(default)g)"
    )
    parser.add_argument(
        "--stages", default="", help=f"some of {','.join(stage.name for stage in STAGES)} (default: all)"
    )
    parser.add_argument("--sizes", choices=SIZES, help="default: large on a GPU, small on a CPU")
    options = parser.parse_args(arguments)
    try:
        (device,) = parse_devices(options.device)
        require_present((device,))
        stages = chosen_stages(options.stages)
    except ValueError as error:
        parser.error(f"{error}; for a trial without a GPU: --device cpu")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    signal.signal(signal.SIGTERM, _interrupt)
    report = Report(str(device), options.sizes or usual_sizes(device), options.out, options.budget)
    try:
        passed = report.run(stages)
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was measured is in {options.out / 'report.md'}")
        sys.exit(INTERRUPTED)
    print(f"the report is in {options.out / 'report.md'}")
    sys.exit(0 if passed else 1)


def _interrupt(*_: object) -> None:
    """End on a request of the system as on Ctrl-C, so that no stage stays behind."""
    raise KeyboardInterrupt
