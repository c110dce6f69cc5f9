# SPDX-License-Identifier: Apache-2.0
"""The process of one stage: measures part after part and writes each result at once.

A part that fails does not keep the next one from being measured.
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dreamzero_ros.bench.gpu.device import environment
from dreamzero_ros.bench.gpu.results import (
    FAILED,
    PASSED,
    RUNNING,
    SKIPPED,
    NotHereError,
    Part,
    Result,
    write_json,
)
from dreamzero_ros.bench.gpu.sizes import SIZES


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the process: `python -m dreamzero_ros.bench.gpu.child`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", help="module:function that yields the parts")
    parser.add_argument("--device", required=True)
    parser.add_argument("--sizes", choices=SIZES, required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON file that is written anew after each part"
    )
    options = parser.parse_args(arguments)
    measure_stage(options.parts, torch.device(options.device), options.sizes, options.out)


def measure_stage(parts: str, device: torch.device, sizes: str, out: Path) -> None:
    """Measure the parts of a stage, and write what is known after each."""
    results: list[dict[str, Any]] = []
    content: dict[str, Any] = {"status": RUNNING, "environment": environment(device), "results": results}
    write_json(out, content)
    module, _, function = parts.partition(":")
    for part in getattr(import_module(module), function)(device, SIZES[sizes]):
        results.append(_measure(part))
        print(f"{part.title}: {results[-1]['status']}, {results[-1]['seconds']:.1f} s", flush=True)
        write_json(out, content)
    ends = [result["status"] for result in results]
    done = SKIPPED if ends and set(ends) == {SKIPPED} else PASSED
    content["status"] = FAILED if FAILED in ends else done
    write_json(out, content)


def _measure(part: Part) -> dict[str, Any]:
    """Measure a part; its words where it fails are its result."""
    begin, skipped = time.perf_counter(), False
    try:
        result = part.measure()
    except NotHereError as error:
        result, skipped = Result(part.title, notes=[f"skipped: {error}"]), True
    except Exception as error:  # whatever it is, the next part may still work
        traceback.print_exc()
        result = Result(part.title, error=f"{type(error).__name__}: {error}")
    told = result.as_json()
    status = SKIPPED if skipped else PASSED if told["right"] else FAILED
    seconds = round(time.perf_counter() - begin, 2)
    return {"part": part.title, "status": status, "seconds": seconds, **told}


if __name__ == "__main__":
    main()
