# SPDX-License-Identifier: Apache-2.0
"""A dataclass of settings becomes declared, typed, ranged and described ROS parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

Settings = TypeVar("Settings")


def setting(
    default: Any,
    text: str,
    *,
    lowest: float | None = None,
    highest: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A field of a settings dataclass.

    Args:
        default: Value without an override; its type is the parameter's type.
        text: Description with unit and reason, shown by `ros2 param describe`.
        lowest: Smallest value, for numbers.
        highest: Largest value, for numbers.
        choices: The only values allowed, for words.
        live: Whether it may change while the node runs.
    """
    metadata = {"text": text, "range": (lowest, highest), "choices": choices, "live": live}
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
        _require_choice(field, value)
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
                _require_choice(fields[name], value)
            if changed:
                take(dataclasses.replace(settings, **changed))  # type: ignore[type-var]
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(change)


def _require_choice(field: dataclasses.Field, value: Any) -> None:
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise ValueError(f"parameter {field.name}: got {value!r}, expected one of {', '.join(choices)}")


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
