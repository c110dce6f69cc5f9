# SPDX-License-Identifier: Apache-2.0
"""A dataclass of settings becomes declared, typed, ranged and described ROS parameters."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

Settings = TypeVar("Settings")


def setting(
    default: Any,
    text: str,
    *,
    lowest: float | None = None,
    highest: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of a settings dataclass.

    Args:
        default: Value without an override; its type is the parameter's type.
        text: Description with unit and reason, shown by `ros2 param describe`.
        lowest: Smallest value, for numbers.
        highest: Largest value, for numbers.
        choices: The only values allowed, for words.
    """
    metadata = {"text": text, "range": (lowest, highest), "choices": choices}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declare(node: Node, kind: type[Settings]) -> Settings:
    """Declares every field of a settings dataclass on the node and returns the values in force.

    Raises:
        ValueError: A word that is not among the choices; names parameter, got and expected.
    """
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
        value = node.declare_parameter(field.name, default, _descriptor(field, default)).value
        choices = field.metadata["choices"]
        if choices and value not in choices:
            raise ValueError(f"parameter {field.name}: got {value!r}, expected one of {', '.join(choices)}")
        values[field.name] = value
    return kind(**values)


def _descriptor(field: dataclasses.Field, default: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=field.metadata["text"], read_only=True)
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
