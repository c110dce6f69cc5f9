# SPDX-License-Identifier: Apache-2.0
"""Where the time from capture to command goes."""

from __future__ import annotations

from collections.abc import Mapping


def stages(asked_age_s: float, policy_s: Mapping[str, float], total_s: float) -> dict[str, float]:
    """Where the time from capture to command went [s]: to the request, in the policy, and back."""
    rest_s = total_s - asked_age_s - sum(policy_s.values())
    return {"capture": asked_age_s, **policy_s, "command": rest_s}
