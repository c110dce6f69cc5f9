# SPDX-License-Identifier: Apache-2.0
"""A dataclass of settings becomes declared, typed, ranged and described ROS parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from dreamzero_ros.policy.parameters import Settings, default_of, require_choice


def declare(node: Node, kind: type[Settings]) -> Settings:
    """Declares every field of a settings dataclass on the node and returns the values in force.

    Raises:
        ValueError: A word that is not among the choices; names parameter, got and expected.
    """
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        default = default_of(field)
        value = node.declare_parameter(field.name, default, _descriptor(field, default)).value
        require_choice(field, value)
        values[field.name] = value
    return kind(**values)


def on_change(node: Node, current: Callable[[], Settings], take: Callable[[Settings], None]) -> None:
    """Has changes of live parameters taken; ROS itself refuses other types, ranges and read-only parameters.

    Args:
        node: Has declared the settings.
        current: The settings in force.
        take: Called with the settings that are to be in force; refuses them by a ValueError.
    """

    def change(parameters: list[Parameter]) -> SetParametersResult:
        settings = current()
        fields = {field.name: field for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
        changed = {entry.name: entry.value for entry in parameters if entry.name in fields}
        try:
            for name, value in changed.items():
                require_choice(fields[name], value)
            if changed:
                take(dataclasses.replace(settings, **changed))  # type: ignore[type-var]
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(change)


def _descriptor(field: dataclasses.Field, default: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=field.metadata["text"], read_only=not field.metadata["live"])
    if field.metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(field.metadata["choices"])
    lowest, highest = field.metadata["range"]
    if lowest is not None and isinstance(default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(lowest), to_value=float(highest))
        ]
    elif lowest is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(lowest), to_value=int(highest), step=1)]
    return descriptor
