# SPDX-License-Identifier: Apache-2.0
"""Runs the benches: `python -m dreamzero_ros.bench`."""

from dreamzero_ros.bench.command import main

if __name__ == "__main__":
    main()
