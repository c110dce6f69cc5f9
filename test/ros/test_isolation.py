# SPDX-License-Identifier: Apache-2.0
"""A graph gets a domain in which nobody is."""

from __future__ import annotations

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from dreamzero_ros.ros import isolation

pytestmark = pytest.mark.ros


def test_a_domain_with_a_node_in_it_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with isolation.reserved_domain() as domain:
        pass
    monkeypatch.setattr(isolation, "DOMAINS", range(domain, domain + 1))
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node("resident", context=context)
    with (
        pytest.raises(RuntimeError, match=f"no free ROS domain among {domain} to {domain}: end other"),
        isolation.reserved_domain(),
    ):
        pass
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_domain_is_given_to_one_caller_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody has taken its ports yet."""
    with isolation.reserved_domain() as domain:
        monkeypatch.setattr(isolation, "DOMAINS", range(domain, domain + 1))
        with pytest.raises(RuntimeError, match="no free ROS domain"), isolation.reserved_domain():
            pass
    with isolation.reserved_domain() as again:
        assert again == domain
