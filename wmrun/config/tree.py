"""A configuration as a tree in which every key and value knows the place it was written at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """A text that configuration was read from: a file, or one argument of the command line."""

    name: str
    """What messages call it: the path as the user would write it, or `command line, argument 2`."""
    text: str
    path: Path | None = None
    """The absolute path of a file."""
    argument: int = 0
    """The position of an argument, from 1; 0 for files."""

    def line(self, number: int) -> str:
        """Return line `number`, counted from 1; empty past the end."""
        lines = self.text.splitlines()
        return lines[number - 1] if 0 < number <= len(lines) else ""


@dataclass(frozen=True)
class Place:
    """A stretch of one line: `line` and `column` count from 1, `length` in characters."""

    source: Source
    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Scalar:
    """A string, number, boolean or null."""

    value: str | int | float | bool | None
    place: Place


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True)
class Entry:
    """The value of a key, with the place of the key."""

    key: Place
    value: Node


@dataclass(frozen=True)
class Mapping:
    """A mapping from strings in the order they were written."""

    entries: dict[str, Entry]
    place: Place

    def scalar(self, key: str) -> Any:
        """Return the value of `key` where it is a scalar, else None."""
        entry = self.entries.get(key)
        return entry.value.value if entry and isinstance(entry.value, Scalar) else None

    def is_null(self, key: str) -> bool:
        """Return whether `key` is there and null."""
        entry = self.entries.get(key)
        return entry is not None and isinstance(entry.value, Scalar) and entry.value.value is None

    def without(self, key: str) -> Mapping:
        """Return a copy that lacks `key`."""
        return Mapping({k: e for k, e in self.entries.items() if k != key}, self.place)


Node = Scalar | Sequence | Mapping


def merge(base: Node, over: Node) -> Node:
    """Return `base` with `over` laid on top: mappings merge key by key, anything else replaces.

    A component (a mapping with a `type`) replaces a component of another type whole, because the
    options of the one mean nothing to the other.
    """
    if not isinstance(base, Mapping) or not isinstance(over, Mapping) or _changes_type(base, over):
        return over
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        below = entries.get(key)
        if below is not None:
            entry = Entry(_heading(below.key, entry.key), merge(below.value, entry.value))
        entries[key] = entry
    return Mapping(entries, _heading(base.place, over.place))


def merge_all(layers: Iterable[Mapping], place: Place) -> Mapping:
    """Merge mappings in order, the last on top."""
    merged: Node = Mapping({}, place)
    for layer in layers:
        merged = merge(merged, layer)
    assert isinstance(merged, Mapping)
    return merged


def plain(node: Node) -> Any:
    """Return the tree as dicts, lists and scalars."""
    match node:
        case Scalar(value=value):
            return value
        case Sequence(items=items):
            return [plain(item) for item in items]
        case Mapping(entries=entries):
            return {key: plain(entry.value) for key, entry in entries.items()}


def from_plain(value: Any, place: Place) -> Node:
    """Return the tree of dicts, lists, tuples and scalars, everything at one place."""
    if isinstance(value, dict):
        entries = {str(k): Entry(place, from_plain(v, place)) for k, v in value.items()}
        return Mapping(entries, place)
    if isinstance(value, (list, tuple)):
        return Sequence(tuple(from_plain(item, place) for item in value), place)
    return Scalar(value, place)


def _heading(below: Place, over: Place) -> Place:
    """Return where a merged mapping begins: in the last file that has it, not in an override."""
    return below if over.source.argument else over


def _changes_type(base: Mapping, over: Mapping) -> bool:
    types = base.scalar("type"), over.scalar("type")
    return None not in types and types[0] != types[1]
