"""Python values as an experiment's, each at the place of the attribute that it was given to."""

from __future__ import annotations

import os
from collections.abc import Mapping as AnyMapping
from typing import Any

from wmrun.config.tree import Entry, Mapping, Place, Source, from_plain, merge_all


class Unfit(Exception):
    """A value that no experiment can have at an attribute."""

    def __init__(self, message: str, expected: str) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected


def plain_value(value: Any) -> Any:
    """Return a value in the types of YAML: paths become strings, NumPy's numbers Python's.

    Raises `Unfit` for what is neither a number, a string, True, False, None nor made of these.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, os.PathLike):
        return plain_value(os.fspath(value))
    if isinstance(value, AnyMapping):
        return {_key(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain_value(value.item())
    raise Unfit(
        f"an object of type {type(value).__name__} is not a setting",
        "a number, a string, True, False, None, or lists and dicts of these",
    )


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise Unfit(f"{key!r} cannot be a key", "strings as keys")


def place_of(name: str, value: Any, order: int) -> Place:
    """Return where an attribute has its value: messages show it as an assignment.

    `order` counts attributes from 1; problems are reported in it.
    """
    return _value_place(f"DreamerConfig.{name}", name, value, order)


def nested(path: str, value: Any, place: Place) -> Mapping:
    """Return `{a: {b: value}}` for the path `a.b`, everything at one place."""
    return _nest(path, Entry(place, from_plain(value, place)))


def settings_tree(settings: dict[str, Any], name: str, order: int) -> Mapping:
    """Return the nested dicts of an attribute as a tree in which every value has its own place.

    Dots in outermost keys lead into the experiment: `{"agent.kl_free": 1.0}`.
    """
    layers = [
        _nest(path, _setting(path, value, f"DreamerConfig.{name}", order))
        for path, value in settings.items()
    ]
    return merge_all(layers, place_of(name, settings, order))


def _setting(path: str, value: Any, origin: str, order: int) -> Entry:
    place = _value_place(origin, path, value, order)
    key = Place(place.source, 1, 1, len(path))
    if not isinstance(value, dict):
        return Entry(key, from_plain(value, place))
    inner = {name: _setting(f"{path}.{name}", item, origin, order) for name, item in value.items()}
    return Entry(key, Mapping(inner, place))


def _value_place(origin: str, key: str, value: Any, order: int) -> Place:
    source = Source(origin, f"{key} = {value!r}", argument=order)
    return Place(source, 1, len(key) + 4, len(repr(value)))


def _nest(path: str, entry: Entry) -> Mapping:
    for key in reversed(path.split(".")):
        tree = Mapping({key: entry}, entry.key)
        entry = Entry(entry.key, tree)
    return tree
