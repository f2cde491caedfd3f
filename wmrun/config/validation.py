"""Checking a tree against the schema and the options of components, every problem in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from wmrun.config.admission import Member, kind_of, members, words
from wmrun.config.defaults import with_default
from wmrun.config.problems import ProblemLog, quoted
from wmrun.config.schema import Config, Section
from wmrun.config.suggestions import suggest_choice, suggest_key, suggest_value
from wmrun.config.tree import Entry, Mapping, Node, Place, Scalar
from wmrun.errors import AmbiguousComponent, ComponentError, UnknownComponent
from wmrun.registry import Option, names
from wmrun.registry.lookup import find, signature
from wmrun.spelling import closest


@dataclass(frozen=True)
class _Key:
    """A key that a mapping may have."""

    annotation: Any
    marks: tuple[Any, ...]
    required: bool
    help: str

    @property
    def words(self) -> str:
        return words(self.annotation, self.marks)


class Validator:
    """Checks trees and returns their values. Problems go to `log`; values in error become None."""

    def __init__(self, log: ProblemLog) -> None:
        self._log = log

    def config(self, tree: Mapping) -> Config | None:
        """Return the experiment that a tree describes, or None when it has problems."""
        config = self._section(Config, tree, "", tree.place)
        assert config is None or isinstance(config, Config)
        return config

    def _section(
        self, section: type[Section], node: Mapping, path: str, place: Place
    ) -> Section | None:
        before = len(self._log)
        keys = {name: _field_key(field) for name, field in section.model_fields.items()}
        self._check_keys(node, keys, path, place, "unknown key", "")
        values: dict[str, Any] = {}
        for name, key in keys.items():
            entry = node.entries.get(name)
            if entry is not None:
                values[name] = self._value(key.annotation, key.marks, entry, _join(path, name))
            elif key.required and (inner := _only_section(key)) is not None:
                values[name] = self._section(inner, Mapping({}, place), _join(path, name), place)
        return None if len(self._log) > before else self._build(section, values, node, path, place)

    def _build(
        self, section: type[Section], values: dict[str, Any], node: Mapping, path: str, place: Place
    ) -> Section | None:
        try:
            return section(**values)
        except ValidationError as error:
            for item in error.errors():
                self._report(item, node, path, place)
        return None

    def _report(self, error: Dict[str, Any], node: Mapping, path: str, place: Place) -> None:
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
        keys = {option.name: _option_key(option) for option in options}
        label = f"unknown option of {kind} {name}"
        see = f" (`wmrun show {kind} {name}` explains them)"
        self._check_keys(node.without("type"), keys, path, place, label, see)
        values: dict[str, Any] = {"type": name}
        for option in options:
            entry = with_default(option, node.entries.get(option.name))
            if entry is not None:
                inner = _join(path, option.name)
                values[option.name] = self._value(option.type, (), entry, inner)
        return values

    def _type(self, kind: str, node: Mapping, path: str, place: Place) -> str | None:
        entry = node.entries.get("type")
        listed = f"one of {', '.join(names(kind))} (`wmrun list {kind}`)"
        if entry is None:
            if not self._log.has_gaps:
                self._log.add(place, _join(path, "type"), "missing", expected=listed)
            return None
        name = entry.value.value if isinstance(entry.value, Scalar) else None
        if not isinstance(name, str):
            message = _is_a(entry.value)
            self._log.add(entry.value.place, _join(path, "type"), message, expected=listed)
            return None
        return name

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
        self,
        node: Mapping,
        keys: dict[str, _Key],
        path: str,
        place: Place,
        label: str,
        see: str,
    ) -> None:
        """Record unknown and missing keys; a misspelt one counts as unknown, not as missing too."""
        known = tuple(keys)
        suggested = set()
        for name, entry in node.entries.items():
            if name in keys:
                continue
            suggestion = suggest_key(name, known, _join(path, name))
            suggested.add(suggestion)
            expected = f"one of {', '.join(known)}{see}" if known else "no options"
            self._log.add(
                entry.key, _join(path, name), label, expected=expected, suggestion=suggestion
            )
        for name, key in keys.items():
            if name in node.entries or name in suggested or not key.required:
                continue
            if _only_section(key) is None and not self._log.has_gaps:
                expected = f"{key.words}: {_continue(key.help)}" if key.help else key.words
                self._log.add(place, _join(path, name), "missing", expected=expected)

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


def _field_key(field: FieldInfo) -> _Key:
    marks = tuple(field.metadata)
    return _Key(field.annotation, marks, field.is_required(), field.description or "")


def _option_key(option: Option) -> _Key:
    return _Key(option.type, (), option.required, option.help)


def _only_section(key: _Key) -> type[Section] | None:
    alternatives = members(key.annotation, key.marks)
    only = alternatives[0] if len(alternatives) == 1 else None
    return only.type if only is not None and only.is_section else None


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
    return (
        "null is not allowed" if node.value is None else f"{quoted(node.value)} is {kind_of(node)}"
    )


def _continue(sentence: str) -> str:
    """Return a sentence as the end of another one."""
    first, _, rest = sentence.partition(" ")
    first = first if any(char.isupper() for char in first[1:]) else first[:1].lower() + first[1:]
    return f"{first} {rest}".rstrip(". ")


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)
