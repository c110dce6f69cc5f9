# SPDX-License-Identifier: Apache-2.0
"""Who is there: publishers, subscribers and action servers of the ROS graph."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import get_rmw_implementation_identifier

from dreamzero_ros.embodiment.reader import nearest
from dreamzero_ros.ros.check.rows import Row, failed, passed, warned
from dreamzero_ros.ros.share import share

PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Environment variables that name the profile of Fast DDS."""


def full_name(info: TopicEndpointInfo) -> str:
    """Name of the node of an endpoint, with its namespace."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def names(infos: Sequence[TopicEndpointInfo]) -> str:
    """The nodes of some endpoints."""
    return ", ".join(sorted({full_name(info) for info in infos}))


def check_transport() -> Row:
    """The ROS domain, and whether images come through whole."""
    rmw = get_rmw_implementation_identifier()
    found = f"ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')}, {rmw}"
    if "fastrtps" in rmw and not any(os.environ.get(name) for name in PROFILES):
        fix = f"{PROFILES[0]}={share() / 'config' / 'fastdds.xml'}, here and for the cameras"
        return warned("transport", f"{found} with its default: half of the images may be lost", fix)
    return passed("transport", found)


def check_publisher(
    node: Node,
    topic: str,
    kind: type,
    profile: QoSProfile,
    fix_type: str,
    spoken_for: Collection[str] = (),
) -> Row:
    """Whether a topic is published as the policy node subscribes to it.

    Args:
        node: Its namespace and remappings hold.
        topic: The topic.
        kind: Message type that is expected.
        profile: Of the subscription.
        fix_type: What to do when the type is another one.
        spoken_for: Full names of topics that cannot be meant instead.
    """
    full, expected = node.resolve_topic_name(topic), _type_name(kind)
    found = node.get_publishers_info_by_topic(topic)
    if not found:
        others = [
            name
            for name, _ in node.get_topic_names_and_types()
            if name not in spoken_for
            and any(info.topic_type == expected for info in node.get_publishers_info_by_topic(name))
        ]
        hint = nearest(full, others) if others else f"nobody publishes {expected}"
        fix = f"start the driver, or remap: --ros-args -r {topic}:=<its topic>"
        return failed("topic", f"nobody publishes {full}; {hint}", fix)
    for info in found:
        if info.topic_type != expected:
            finding = f"{full} of {full_name(info)} is {info.topic_type}, expected {expected}"
            return failed("topic", finding, fix_type)
        level, reason = qos_check_compatible(info.qos_profile, profile)
        if level == QoSCompatibility.ERROR:
            fix = "change the quality of service of the publisher"
            return failed("topic", f"{full} of {full_name(info)}: {reason}", fix)
    return passed("topic", f"{full} of {names(found)}")


def silent(seconds: float) -> Row:
    """A publisher is there, and nothing comes."""
    fix = "is the driver streaming? Then network, ROS_AUTOMATIC_DISCOVERY_RANGE, config/fastdds.xml"
    return failed("messages", f"none within {seconds:g} s", fix)


def _type_name(kind: type) -> str:
    package, folder, *_ = kind.__module__.split(".")
    return f"{package}/{folder}/{kind.__name__}"
