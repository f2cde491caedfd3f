"""Checking a tree against the schema and the options of components, every problem in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wmrun.config.admission import Member, kind_of, members, words
from wmrun.config.defaults import with_default
from wmrun.config.keys import Key, option_keys, section_keys
from wmrun.config.paths import absolute_path
from wmrun.config.problems import ProblemLog, quoted
from wmrun.config.schema import Config, Section
from wmrun.config.suggestions import suggest_choice, suggest_key, suggest_value
from wmrun.config.tree import Entry, Mapping, Node, Place, Scalar
from wmrun.errors import AmbiguousComponent, ComponentError, UnknownComponent
from wmrun.registry import Option, names
from wmrun.registry.inventory import signature
from wmrun.registry.lookup import find
from wmrun.spelling import closest


class Validator:
    """Checks trees and returns their values. Problems go to `log`; values in error become None."""

    def __init__(self, log: ProblemLog, top: Place) -> None:
        self._log = log
        self._top = top
        """The beginning of the experiment file, where keys are missing that belong in no other."""

    def config(self, tree: Mapping) -> Config | None:
        """Return the experiment that a tree describes, or None when it has problems."""
        config = self._section(Config, tree, "", self._top)
        assert config is None or isinstance(config, Config)
        return config

    def _section(
        self, section: type[Section], node: Mapping, path: str, place: Place
    ) -> Section | None:
        before = len(self._log)
        keys = section_keys(section)
        misspelt = self._check_keys(node, keys, path, "unknown key", "")
        values: dict[str, Any] = {}
        for name, key in keys.items():
            entry, inner = node.entries.get(name), _join(path, name)
            if entry is not None:
                values[name] = self._value(key.annotation, key.marks, entry, inner)
            elif not key.required or name in misspelt:
                continue
            elif key.section is not None:
                values[name] = self._section(key.section, Mapping({}, place), inner, place)
            else:
                self._report_missing(self._in_experiment(place), inner, key.expected)
        complete = all(name in values for name, key in keys.items() if key.required)
        if not complete or len(self._log) > before:
            return None
        return self._build(section, values, node, path, place)

    def _build(
        self, section: type[Section], values: dict[str, Any], node: Mapping, path: str, place: Place
    ) -> Section | None:
        try:
            return section(**values)
        except ValidationError as error:
            for item in error.errors():
                self._report(item, node, path, place)
        return None

    def _report(self, error: ErrorDetails, node: Mapping, path: str, place: Place) -> None:
        """Record what pydantic found: values that are at odds with each other, or not finite."""
        keys = [str(part) for part in error["loc"]] + error.get("ctx", {}).get("key", "").split(".")
        keys = [key for key in keys if key]
        self._log.add(_place_of(node, keys, place), _join(path, *keys), error["msg"])

    def _component(
        self, kind: str, node: Mapping, path: str, place: Place
    ) -> dict[str, Any] | None:
        name = self._type(kind, node, path, place)
        options = None if name is None else self._options(kind, name, node, path)
        if name is None or options is None:
            return None
        keys = option_keys(options)
        label = f"unknown option of {kind} {name}"
        see = f" (`wmrun show {kind} {name}` explains them)"
        misspelt = self._check_keys(node, keys, path, label, see)
        values: dict[str, Any] = {"type": name}
        for option in options:
            inner = _join(path, option.name)
            entry = with_default(option, node.entries.get(option.name))
            if entry is not None:
                values[option.name] = self._value(option.type, (), entry, inner)
            elif option.name not in misspelt:
                self._report_missing(place, inner, keys[option.name].expected)
        return values

    def _type(self, kind: str, node: Mapping, path: str, place: Place) -> str | None:
        expected = f"one of {', '.join(names(kind))} (`wmrun list {kind}`)"
        entry = node.entries.get("type")
        if entry is None:
            misspelt = [key for key in node.entries if closest(key, ["type"])]
            for key in misspelt:
                place, inner = node.entries[key].key, _join(path, key)
                self._log.add(place, inner, "unknown key", suggestion="type")
            if not misspelt:
                self._report_missing(place, _join(path, "type"), expected)
            return None
        name = entry.value.value if isinstance(entry.value, Scalar) else None
        if isinstance(name, str):
            return name
        message = _is_a(entry.value)
        self._log.add(entry.value.place, _join(path, "type"), message, expected=expected)
        return None

    def _options(self, kind: str, name: str, node: Mapping, path: str) -> tuple[Option, ...] | None:
        place, path = node.entries["type"].value.place, _join(path, "type")
        try:
            return signature(find(kind, name)).options
        except UnknownComponent:
            known = names(kind)
            self._log.add(
                place,
                path,
                f"no {kind} is called {quoted(name)}",
                expected=f"one of {', '.join(known)} (`wmrun list {kind}`)",
                suggestion=closest(name, known),
            )
        except AmbiguousComponent as error:
            self._log.add(place, path, error.message, expected=error.hint)
        except ComponentError as error:
            self._log.add(place, path, error.message)
        return None

    def _check_keys(
        self, node: Mapping, keys: dict[str, Key], path: str, label: str, see: str
    ) -> set[str | None]:
        """Record unknown keys, and return the keys that they seem to be misspellings of."""
        known = tuple(keys)
        expected = f"one of {', '.join(known)}{see}"
        misspelt = set()
        for name, entry in node.entries.items():
            if name not in keys:
                inner = _join(path, name)
                near = suggest_key(name, known, inner)
                misspelt.add(near)
                self._log.add(entry.key, inner, label, expected=expected, suggestion=near)
        return misspelt

    def _report_missing(self, place: Place, path: str, expected: str) -> None:
        if not self._log.has_gaps:
            self._log.add(place, path, "missing", expected=expected)

    def _in_experiment(self, place: Place) -> Place:
        """Return `place` if it is in the experiment file, else the top of that file."""
        return place if place.source == self._top.source else self._top

    def _value(self, annotation: Any, marks: tuple[Any, ...], entry: Entry, path: str) -> Any:
        node = entry.value
        alternatives = members(annotation, marks)
        member = next((member for member in alternatives if member.admits(node)), None)
        if member is None:
            self._log.add(
                node.place,
                path,
                _is_a(node),
                expected=words(annotation, marks),
                suggestion=suggest_value(node, alternatives),
            )
            return None
        if isinstance(node, Scalar):
            return self._scalar(member, alternatives, node, path)
        if isinstance(node, Mapping):
            return self._mapping(member, node, path, entry.key)
        return self._list(member, node.items, node, path)

    def _scalar(
        self, member: Member, alternatives: tuple[Member, ...], node: Scalar, path: str
    ) -> Any:
        if isinstance(node.value, float) and not math.isfinite(node.value):
            self._log.add(node.place, path, f"{quoted(node.value)} is not a finite number")
            return None
        objections = [m.objection(node.value) for m in alternatives if m.admits(node)]
        if None not in objections:
            self._log.add(
                node.place,
                path,
                f"{quoted(node.value)} {objections[0]}",
                expected=" or ".join(m.words() for m in alternatives),
                suggestion=suggest_choice(node.value, alternatives),
            )
            return None
        if member.located is not None:
            return absolute_path(str(node.value), member.located, node.place.source)
        return float(node.value) if member.type is float and node.value is not None else node.value

    def _mapping(self, member: Member, node: Mapping, path: str, place: Place) -> Any:
        if member.is_section:
            return self._section(member.type, node, path, place)
        if member.nested_kind is not None:
            return self._component(member.nested_kind, node, path, place)
        inner = member.args[1] if member.args else Any
        return {
            name: self._value(inner, (), entry, _join(path, name))
            for name, entry in node.entries.items()
            if not (member.null_removes and node.is_null(name))
        }

    def _list(self, member: Member, items: tuple[Node, ...], node: Node, path: str) -> Any:
        types = _item_types(member, len(items))
        if types is None:
            message = f"is a list of {len(items)}"
            self._log.add(node.place, path, message, expected=member.words())
            return None
        values = [
            self._value(item_type, (), Entry(item.place, item), f"{path}[{index}]")
            for index, (item_type, item) in enumerate(zip(types, items, strict=True))
        ]
        return tuple(values) if member.origin is tuple else values


def _item_types(member: Member, count: int) -> Iterable[Any] | None:
    """Return the type of each of `count` items, or None where a tuple has another length."""
    if member.type is Any:
        return [Any] * count
    if member.origin is list or member.args[1:] == (...,):
        return [member.args[0]] * count
    return member.args if len(member.args) == count else None


def _place_of(node: Node, keys: list[str], place: Place) -> Place:
    """Return the place of the deepest value that `keys` lead to."""
    for key in keys:
        if not isinstance(node, Mapping) or key not in node.entries:
            break
        node = node.entries[key].value
        place = node.place
    return place


def _is_a(node: Node) -> str:
    if not isinstance(node, Scalar):
        return f"is {kind_of(node)}"
    if node.value is None:
        return "null is not allowed"
    return f"{quoted(node.value)} is {kind_of(node)}"


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)
