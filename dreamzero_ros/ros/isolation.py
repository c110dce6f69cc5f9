# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of its own: a free domain on this machine, and the environment of its processes."""

from __future__ import annotations

import os
import random
import socket

from dreamzero_ros.ros.share import share

DOMAINS = range(1, 102)
"""Domain ids whose ports lie below the range from which Linux takes ports for outgoing connections."""

FIRST_PORT, PORTS_PER_DOMAIN = 7400, 250
"""DDS-RTPS well-known ports: multicast discovery of domain d listens on 7400 + 250 d."""


def free_domain() -> int:
    """A ROS_DOMAIN_ID whose discovery port nobody on this machine listens on.

    Raises:
        RuntimeError: All are taken.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", FIRST_PORT + PORTS_PER_DOMAIN * domain))
            except OSError:
                continue
            return domain
    raise RuntimeError(
        f"no free ROS domain among {DOMAINS.start} to {DOMAINS.stop - 1}: end other ROS graphs"
    )


def graph_environment(domain: int, log_folder: str) -> dict[str, str]:
    """Environment variables of a process of the graph: its domain, this machine only, room for images."""
    return os.environ | {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(share() / "config" / "fastdds.xml"),
        "ROS_LOG_DIR": log_folder,
        "PYTHONUNBUFFERED": "1",
    }
