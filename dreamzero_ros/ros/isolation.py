# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of its own: a free domain on this machine, and the environment of its processes."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from dreamzero_ros.ros.share import share

DOMAINS = range(1, 102)
"""Domain ids whose ports lie below the range from which Linux takes ports for outgoing connections."""

FIRST_PORT, PORTS_PER_DOMAIN = 7400, 250
"""DDS-RTPS well-known ports: those of domain d begin at 7400 + 250 d, there for multicast discovery."""

PARTICIPANTS, FIRST_UNICAST, PORTS_PER_PARTICIPANT = 120, 10, 2
"""Participant p of a domain is discovered at its port 10 + 2 p; where discovery stays on this machine,
that is the only port for it."""


@contextmanager
def reserved_domain() -> Iterator[int]:
    """A ROS_DOMAIN_ID in which nobody on this machine is found, kept for the caller.

    Until the end of the context, or of the process, no other caller gets it: the processes of a graph take
    their ports only after a while.

    Raises:
        RuntimeError: All are taken.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        with socket.socket(socket.AF_UNIX) as reservation:
            if _bound(reservation, f"\0dreamzero_ros/domain/{domain}") and all(
                map(_is_free, discovery_ports(domain))
            ):
                yield domain
                return
    raise RuntimeError(
        f"no free ROS domain among {DOMAINS.start} to {DOMAINS.stop - 1}: end other ROS graphs"
    )


def discovery_ports(domain: int) -> list[int]:
    """UDP ports at which participants of a domain can be discovered, the one for multicast first."""
    first = FIRST_PORT + PORTS_PER_DOMAIN * domain
    unicast = first + FIRST_UNICAST
    return [first, *range(unicast, unicast + PARTICIPANTS * PORTS_PER_PARTICIPANT, PORTS_PER_PARTICIPANT)]


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return _bound(probe, ("", port))


def _bound(probe: socket.socket, address: str | tuple[str, int]) -> bool:
    try:
        probe.bind(address)
    except OSError:
        return False
    return True


def graph_environment(domain: int, log_folder: str) -> dict[str, str]:
    """Environment variables of a process of the graph: its domain, this machine only, room for images."""
    return os.environ | {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(share() / "config" / "fastdds.xml"),
        "ROS_LOG_DIR": log_folder,
        "PYTHONUNBUFFERED": "1",
    }
