# SPDX-License-Identifier: Apache-2.0
"""Bags -> what the policy would have done. No ROS import."""
