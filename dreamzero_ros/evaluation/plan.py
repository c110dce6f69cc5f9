# SPDX-License-Identifier: Apache-2.0
"""Which bags are evaluated, and what episodes they hold; kept beside the episodes, to go on from.

Bags are looked through once: one that has not changed since is taken as it was found then.
"""

from __future__ import annotations

import dataclasses
import glob
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamzero_ros.evaluation.bag import Bag, recordings, stem
from dreamzero_ros.evaluation.errors import BagError
from dreamzero_ros.evaluation.files import write
from dreamzero_ros.evaluation.inspection import Inspection, inspect
from dreamzero_ros.evaluation.job import Job, Unit
from dreamzero_ros.evaluation.spans import Span, spans

FILE = "evaluation.json"
"""Its name in the folder of an evaluation."""
LIST = ".txt"
"""Suffix of a file that lists bags, one in a line."""

Look = Callable[[Bag, Inspection], None]
"""Called with every bag that was looked through."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A bag and its episodes."""

    path: Path
    """The recording."""
    name: str
    """Of the bag, in no other use in this evaluation."""
    state: tuple[int, int]
    """Size [bytes] and time of the last change [ns], of all its files together."""
    units: tuple[Unit, ...] = ()
    """In order."""
    notices: tuple[str, ...] = ()
    """What is unusual, in words."""
    error: str = ""
    """Why it cannot be used, in words."""


def bags_of(words: Sequence[str]) -> tuple[Path, ...]:
    """The bags that are meant by paths, patterns, folders of bags and lists, each once, in order.

    Raises:
        ValueError: One of them names nothing.
    """
    found = [path for word in words for path in _named(word)]
    return tuple(dict.fromkeys(found))


def make_plan(
    job: Job,
    bags: Sequence[Path],
    out: Path,
    look: Look = lambda bag, inspection: None,
) -> tuple[Planned, ...]:
    """Looks through bags and cuts them into episodes; the plan is written into the folder of the evaluation.

    Args:
        job: What is evaluated.
        bags: The recordings.
        out: Folder of the evaluation; new, or one of the same job, which goes on.
        look: See there.

    Raises:
        ValueError: The folder holds an evaluation of another job, or a list of times cannot be read.
        OSError: The plan cannot be written.
    """
    known = _read(out / FILE, job)
    names = _names(bags)
    plan = []
    for path in bags:
        old = known.get((str(path), names[path]))
        keep = old is not None and not old.error and path.exists() and old.state == _state(path)
        plan.append(old if old is not None and keep else _planned(job, path, names[path], look))
    out.mkdir(parents=True, exist_ok=True)
    content = {"job": job.shown(), "bags": [_words(planned) for planned in plan]}
    write(out / FILE, json.dumps(content, indent=1, ensure_ascii=False))
    return tuple(plan)


def _named(word: str) -> list[Path]:
    path = Path(word)
    if path.suffix == LIST and path.is_file():
        return [found for line in _lines(path) for found in _named(str(path.parent / line))]
    if path.exists():
        return recordings(path)
    matches = sorted(glob.glob(word, recursive=True))  # noqa: PTH207 - a Path takes no absolute pattern
    if not matches:
        raise ValueError(f"{word}: expected a bag, a folder of bags, a pattern or a list, got nothing there")
    return [found for match in matches for found in _named(match)]


def _lines(path: Path) -> list[str]:
    """What a list names: its lines, without empty ones and those that begin with #."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected a list of bags in UTF-8, got {error}; save it as UTF-8"
        ) from error
    return [line for line in lines if line and not line.startswith("#")]


def _names(bags: Sequence[Path]) -> dict[Path, str]:
    """Short names; equal ones are told apart by the folders above, or else by their number."""
    names = {path: stem(path.resolve()) for path in bags}
    twice = Counter(names.values())
    names = {p: f"{p.resolve().parent.name}-{name}" if twice[name] > 1 else name for p, name in names.items()}
    seen: Counter[str] = Counter()
    for path, name in names.items():
        seen[name] += 1
        if seen[name] > 1:
            names[path] = f"{name}-{seen[name]}"
    return names


def _planned(job: Job, path: Path, name: str, look: Look) -> Planned:
    try:
        state = _state(path)
        with Bag(path) as bag:
            age_s = job.parameters.max_observation_age_s
            inspection = inspect(bag, job.parameters.load(), job.streams(), max_age_s=age_s)
            look(bag, inspection)
            if inspection.problems:
                words = "; ".join(str(problem) for problem in inspection.problems)
                return Planned(path=path, name=name, state=state, error=words)
            units = tuple(
                Unit(id=f"{name}-{span.number:03d}", bag=path, span=span)
                for span in spans(bag, job.streams(), job.split, inspection.clock)
            )
    except BagError as error:
        return Planned(path=path, name=name, state=(0, 0), error=str(error))
    return Planned(path=path, name=name, state=state, units=units, notices=tuple(inspection.notices))


def _state(path: Path) -> tuple[int, int]:
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    stats = [each.stat() for each in files if each.exists()]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def _read(path: Path, job: Job) -> Mapping[tuple[str, str], Planned]:
    """The plan of before by path and name; empty where there is none."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before, bags = content["job"], [_of_words(words) for words in content["bags"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the plan of an evaluation, got {error}") from error
    now = json.loads(json.dumps(job.shown()))
    if before != now:
        raise ValueError(
            f"{path.parent}: expected a new folder, or an evaluation with the same settings to go on with, "
            f"got one with {_difference(before, now)}; name another folder"
        )
    return {(str(planned.path), planned.name): planned for planned in bags}


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting that is another."""
    one, other = _flat(before), _flat(now)
    name = next(name for name in {**other, **one} if one.get(name) != other.get(name))
    return f"{name} {one.get(name)!r} instead of {other.get(name)!r}"


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= _flat(value) if isinstance(value, dict) else {name: value}
    return found


def _words(planned: Planned) -> dict[str, Any]:
    units = [{"id": unit.id, **dataclasses.asdict(unit.span)} for unit in planned.units]
    return {**vars(planned), "path": str(planned.path), "units": units}


def _of_words(words: Mapping[str, Any]) -> Planned:
    path = Path(words["path"])
    units = []
    for entry in words["units"]:
        span: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in entry.items() if name != "id"
        }
        units.append(Unit(id=entry["id"], bag=path, span=Span(**span)))
    return Planned(
        path=path,
        name=words["name"],
        state=(words["state"][0], words["state"][1]),
        units=tuple(units),
        notices=tuple(words["notices"]),
        error=words["error"],
    )
