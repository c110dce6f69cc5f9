# SPDX-License-Identifier: Apache-2.0
"""YAML with an address: every value knows its file and key, so that every complaint can name them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path

import yaml


class EmbodimentError(ValueError):
    """A robot file, or the statistics that go with it, cannot be used; the text says what to change."""

    def __init__(self, file: str, key: str, expected: str, got: object, hint: str = "") -> None:
        super().__init__(f"{file}: {key}: expected {expected}, got {got}" + (f"; {hint}" if hint else ""))
        self.file = file
        self.key = key


def nearest(name: str, names: Collection[str]) -> str:
    """A hint at the closest of some names, or at all of them."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(names))}"


class Reader:
    """One mapping of a document.

    Args:
        file: Name of the file, for messages.
        key: Where the mapping lies in it, for messages; empty at the top.
        value: The mapping.
        known: The keys it may have; None allows any.
    """

    def __init__(self, file: str, key: str, value: object, known: Collection[str] | None = None) -> None:
        self.file = file
        self.key = key
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise EmbodimentError(file, key or "document", "a mapping with names as keys", repr(value))
        self.values: dict[str, object] = value
        known = value if known is None else known
        for name in value:
            if name not in known:
                raise self.error(name, "a known key", repr(name), nearest(name, known))

    def error(self, key: str, expected: str, got: object, hint: str = "") -> EmbodimentError:
        """A complaint about one of the keys."""
        return EmbodimentError(self.file, self.path(key), expected, got, hint)

    def path(self, key: str) -> str:
        """Where a key lies in the document."""
        return f"{self.key}.{key}" if self.key else key

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.values

    def value(self, key: str, expected: str) -> object:
        """Whatever the key holds; it must be there."""
        if key not in self.values:
            raise self.error(key, expected, "nothing", "add this key")
        return self.values[key]

    def text(self, key: str) -> str:
        """A text that is not empty."""
        return self._text(key, self.value(key, "a text"))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of different texts."""
        texts = tuple(self._text(f"{key}[{i}]", item) for i, item in enumerate(self.items(key)))
        for index, item in enumerate(texts):
            if item in texts[:index]:
                raise self.error(f"{key}[{index}]", "each name once", f"{item!r} again")
        return texts

    def choice(self, key: str, options: Collection[str]) -> str:
        """One of some words."""
        text = self.text(key)
        if text not in options:
            raise self.error(key, f"one of {', '.join(options)}", repr(text), nearest(text, options))
        return text

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.value(key, "true or false")
        if not isinstance(value, bool):
            raise self.error(key, "true or false", repr(value))
        return value

    def number(self, key: str, above: float = -math.inf) -> float:
        """A finite number, greater than `above`."""
        expected = "a number" if above == -math.inf else f"a number above {above:g}"
        return self._number(key, self.value(key, expected), expected, above)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of so many finite numbers."""
        items = self.items(key)
        if len(items) != count:
            raise self.error(key, f"{count} numbers", repr(items))
        return tuple(self._number(f"{key}[{i}]", item, "a number") for i, item in enumerate(items))

    def integer(self, key: str, least: int) -> int:
        """A whole number, at least `least`."""
        return self._integer(key, self.value(key, f"a whole number from {least}"), least)

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(self._integer(f"{key}[{i}]", item) for i, item in enumerate(self.items(key)))

    def items(self, key: str) -> list[object]:
        """A list that is not empty."""
        value = self.value(key, "a list")
        if not isinstance(value, list) or not value:
            raise self.error(key, "a list with at least one item", repr(value))
        return value

    def child(self, key: str, known: Collection[str] | None = None) -> Reader:
        """The mapping under a key."""
        return Reader(self.file, self.path(key), self.value(key, "a mapping"), known)

    def children(self, key: str, known: Collection[str]) -> list[Reader]:
        """The list of mappings under a key."""
        return [
            Reader(self.file, self.path(f"{key}[{i}]"), item, known) for i, item in enumerate(self.items(key))
        ]

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "a text", repr(value))
        return value

    def _number(self, key: str, value: object, expected: str, above: float = -math.inf) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(key, expected, repr(value))
        if value <= above:
            raise self.error(key, expected, value)
        return float(value)

    def _integer(self, key: str, value: object, least: int | None = None) -> int:
        expected = "a whole number" if least is None else f"a whole number from {least}"
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            raise self.error(key, expected, repr(value))
        return value


def read_yaml(path: Path) -> dict[str, object]:
    """The mapping in a YAML file.

    Raises:
        EmbodimentError: No such file; text in another encoding than UTF-8, or UTF-16 with a byte-order mark;
            no YAML, a key twice in one mapping, or not a mapping.
    """
    try:
        document = yaml.load(path.read_bytes(), _OnceLoader)
    except OSError as error:
        raise EmbodimentError(str(path), "file", "a readable file", error.strerror) from error
    except yaml.reader.ReaderError as error:
        content = path.read_bytes()
        line = content[: error.position].count(b"\n") + 1
        encoding = "UTF-16LE" if b"\0" in content else "LATIN1"
        fix = f"if it is {encoding}: iconv -f {encoding} -t UTF-8 {path} > utf8 && mv utf8 {path}"
        raise EmbodimentError(
            str(path), "document", "text in UTF-8", f"another encoding in line {line} ({error.reason})", fix
        ) from error
    except yaml.YAMLError as error:
        raise EmbodimentError(str(path), "document", "YAML with each key once", error) from error
    return Reader(str(path), "", document).values


class _OnceLoader(yaml.SafeLoader):
    """The safe loader, but a key that comes twice in one mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                again = f"key {key.value!r} again"
                raise yaml.constructor.ConstructorError(
                    "in a mapping", node.start_mark, again, key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def apply_parameters(file: str, document: dict[str, object], given: Mapping[str, str]) -> dict[str, object]:
    """Resolves the ``parameters`` of a document.

    Each parameter has a ``default`` and, optionally, ``choices``: what may be chosen, each with a mapping
    that is laid over the document (or nothing): mappings are merged key by key, a mapping over a list is
    merged into its items by their ``name``, everything else is replaced. Then ``$(name)`` is replaced in all
    keys and texts.

    Args:
        file: Name of the file, for messages.
        document: The whole document.
        given: Values by parameter name; the others keep their default.
    """
    document = dict(document)
    declared = Reader(file, "parameters", document.pop("parameters", {}))
    for name in given:
        if name not in declared.values:
            raise declared.error(name, "a parameter of this file", repr(name), nearest(name, declared.values))
    chosen: dict[str, str] = {}
    for name in declared.values:
        parameter = declared.child(name, ("default", "choices"))
        chosen[name] = given.get(name, parameter.text("default"))
        if parameter.has("choices"):
            choices = parameter.child("choices")
            if chosen[name] not in choices.values:
                hint = nearest(chosen[name], choices.values)
                raise declared.error(name, "one of its choices", repr(chosen[name]), hint)
            overlay = choices.values[chosen[name]]
            if overlay is not None:
                document = _overlay(document, choices.child(chosen[name]))
    return _substitute(file, "", document, chosen)


def _overlay(base: dict[str, object], top: Reader) -> dict[str, object]:
    merged = dict(base)
    for key, value in top.values.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _overlay(below, top.child(key))
        elif isinstance(below, list) and isinstance(value, dict):
            merged[key] = _overlay_items(below, top.child(key))
        else:
            merged[key] = value
    return merged


def _overlay_items(base: list[object], top: Reader) -> list[object]:
    places = {
        item["name"]: index for index, item in enumerate(base) if isinstance(item, dict) and "name" in item
    }
    merged = list(base)
    for name in top.values:
        if name not in places:
            raise top.error(name, "the name of an item of that list", repr(name), nearest(name, places))
        item = merged[places[name]]
        assert isinstance(item, dict)
        merged[places[name]] = _overlay(item, top.child(name))
    return merged


def _substitute(
    file: str, key: str, value: dict[str, object], chosen: Mapping[str, str]
) -> dict[str, object]:
    def text(where: str, content: str) -> str:
        def replacement(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in chosen:
                raise EmbodimentError(
                    file, where, "a declared parameter", f"$({name})", nearest(name, chosen)
                )
            return chosen[name]

        return re.sub(r"\$\(([^)]*)\)", replacement, content)

    def walk(where: str, item: object) -> object:
        if isinstance(item, str):
            return text(where, item)
        if isinstance(item, list):
            return [walk(f"{where}[{index}]", part) for index, part in enumerate(item)]
        if isinstance(item, dict):
            return {
                text(where, name) if isinstance(name, str) else name: walk(
                    f"{where}.{name}".lstrip("."), part
                )
                for name, part in item.items()
            }
        return item

    return {text(key, name): walk(name, part) for name, part in value.items()}
