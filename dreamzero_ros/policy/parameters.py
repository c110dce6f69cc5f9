# SPDX-License-Identifier: Apache-2.0
"""Settings that people give by name: a dataclass says their types, ranges, choices and what they mean.

A node declares them as ROS parameters; everything else builds the same dataclass with the same checks out of
a command line and a parameter file in the layout of ROS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dreamzero_ros.embodiment.reader import nearest

Settings = TypeVar("Settings")

OF_EVERY_NODE = ("autostart", "use_sim_time")
"""Parameters that a file may hold besides: they are about a node, not about what it does."""

_WORDS = {"true": True, "false": False}

_TYPES = {bool: "true or false", int: "an int", float: "a float", str: "a str", list: "a list of str"}


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


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The value of a setting that nobody has set."""
    if field.default is not dataclasses.MISSING:
        return field.default
    assert field.default_factory is not dataclasses.MISSING, field.name
    return field.default_factory()


def require_choice(field: dataclasses.Field[Any], value: Any) -> None:
    """Refuses other words than the choices of a setting.

    Raises:
        ValueError: Names parameter, got and expected.
    """
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise ValueError(f"parameter {field.name}: got {value!r}, expected one of {', '.join(choices)}")


def build(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings with some values, checked as ROS checks parameters.

    Args:
        kind: A dataclass of settings.
        values: By name, of the types of the defaults; the others keep their defaults.

    Raises:
        ValueError: A name is unknown, or a value has another type, is out of range or not among the choices.
    """
    fields = _fields(kind)
    for name, value in values.items():
        field = _known(fields, name)
        _require_type(field, value)
        _require_range(field, value)
        require_choice(field, value)
    return kind(**values)


def parse(kind: type[Settings], texts: Mapping[str, str]) -> dict[str, Any]:
    """Values for `build` out of the words of a command line: numbers, true or false, a,b,c for lists.

    Raises:
        ValueError: A name is unknown, or its words are no value of its type.
    """
    fields = _fields(kind)
    return {name: _parsed(_known(fields, name), text) for name, text in texts.items()}


def parameter_file(path: Path, node: str) -> dict[str, Any]:
    """The values that a ROS parameter file sets for a node, whatever its namespace; for `build`.

    Raises:
        ValueError: The file cannot be read, or it sets nothing for this node.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = {str(key): dict(entry["ros__parameters"]) for key, entry in document.items()}
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        layout = f"`{node}: ros__parameters: name: value`"
        raise ValueError(f"{path}: expected a parameter file {layout}, got {error}") from error
    mine = [entry for key, entry in entries.items() if key.rpartition("/")[2] in (node, "*", "**")]
    if not mine:
        raise ValueError(
            f"{path}: expected parameters of {node}, got those of {', '.join(entries) or 'none'}"
        )
    values = {name: value for entry in mine for name, value in entry.items()}
    return {name: value for name, value in values.items() if name not in OF_EVERY_NODE}


def _fields(kind: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(kind)}


def _known(fields: Mapping[str, dataclasses.Field[Any]], name: str) -> dataclasses.Field[Any]:
    if name not in fields:
        raise ValueError(f"parameter {name}: there is none of this name; {nearest(name, fields)}")
    return fields[name]


def _require_type(field: dataclasses.Field[Any], value: Any) -> None:
    expected = type(default_of(field))
    words = expected is list and isinstance(value, list) and not all(isinstance(word, str) for word in value)
    if type(value) is not expected or words:
        raise ValueError(f"parameter {field.name}: got {value!r}, expected {_TYPES[expected]}")


def _require_range(field: dataclasses.Field[Any], value: Any) -> None:
    lowest, highest = field.metadata["range"]
    if lowest is not None and not lowest <= value <= highest:
        raise ValueError(f"parameter {field.name}: got {value!r}, expected {lowest:g} to {highest:g}")


def _parsed(field: dataclasses.Field[Any], text: str) -> Any:
    expected = type(default_of(field))
    try:
        if expected is bool:
            return _WORDS[text]
        if expected is list:
            return text.split(",")
        return expected(text)
    except (KeyError, ValueError):
        raise ValueError(f"parameter {field.name}: got {text!r}, expected {_TYPES[expected]}") from None
