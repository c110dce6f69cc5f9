# SPDX-License-Identifier: Apache-2.0
"""The quality-of-service profiles in use."""

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy

SENSOR = QoSProfile(depth=5, history=QoSHistoryPolicy.KEEP_LAST, reliability=QoSReliabilityPolicy.BEST_EFFORT)
"""Cameras and joint states: matches reliable and best-effort publishers, never waits for a lost sample."""

COMMAND = QoSProfile(depth=1, history=QoSHistoryPolicy.KEEP_LAST, reliability=QoSReliabilityPolicy.RELIABLE)
"""Trajectories: only the newest counts, and it must arrive."""

REPORT = QoSProfile(depth=10, history=QoSHistoryPolicy.KEEP_LAST, reliability=QoSReliabilityPolicy.RELIABLE)
"""Status, chunks, diagnostics and pictures for people."""

CLOCK = QoSProfile(depth=1, history=QoSHistoryPolicy.KEEP_LAST, reliability=QoSReliabilityPolicy.BEST_EFFORT)
"""Simulated time, as nodes subscribe to it: only the newest counts."""

LATCHED = QoSProfile(
    depth=1,
    history=QoSHistoryPolicy.KEEP_LAST,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
"""What was published before also arrives."""

E_STOP = (SENSOR, LATCHED)
"""Subscribed with both: one matches every publisher, the other hears what was latched before it came."""
