"""What was most likely meant by a value of the wrong type or an unknown key."""

from __future__ import annotations

from typing import Any, Literal

from wmrun.config.admission import Member, members
from wmrun.config.scalars import read_scalar
from wmrun.config.schema import Config, Section
from wmrun.config.tree import Node, Scalar
from wmrun.registry import names
from wmrun.spelling import closest

_SWITCHES = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}


def suggest_value(node: Node, alternatives: tuple[Member, ...]) -> str | None:
    """Return what to write in place of a value that none of the alternatives admits."""
    if not isinstance(node, Scalar) or node.value is None:
        return None
    text = _as_written(node)
    for member in alternatives:
        suggestion = _suggest_scalar(node, text, member)
        if suggestion is not None:
            return suggestion
    return None


def suggest_choice(value: Any, alternatives: tuple[Member, ...]) -> str | None:
    """Return the allowed string that is closest to a wrong one."""
    if not isinstance(value, str):
        return None
    return closest(value, [choice for member in alternatives for choice in member.choices()])


def suggest_key(key: str, known: tuple[str, ...], path: str) -> str | None:
    """Return the key of the same mapping that is closest, or else where the key does exist."""
    near = closest(key, known)
    if near is not None:
        return near
    elsewhere = [place for place in _schema_paths(Config) if place.rpartition(".")[2] == key]
    return elsewhere[0] if len(elsewhere) == 1 and elsewhere[0] != path else None


def _suggest_scalar(node: Scalar, text: str, member: Member) -> str | None:
    value = node.value
    if member.nested_kind is not None:
        near = closest(str(value), names(member.nested_kind))
        return None if near is None else f"{{type: {near}}}"
    if member.origin is list and members(member.args[0])[0].admits_scalar(value):
        return f"[{text}]"
    if member.type is bool:
        return _SWITCHES.get(str(value).lower())
    if member.type is int and isinstance(value, float) and value.is_integer():
        return str(int(value))
    if member.type in (int, float) and isinstance(value, str):
        return _unquoted_number(value, member)
    if (member.type is str or member.origin is Literal) and not isinstance(value, str):
        return f'"{text}"' if member.type is str else suggest_choice(text, (member,))
    return None


def _unquoted_number(text: str, member: Member) -> str | None:
    value = read_scalar(text.strip())
    admitted = member.admits_scalar(value) and member.objection(value) is None
    return text.strip() if admitted else None


def _as_written(node: Scalar) -> str:
    place = node.place
    line = place.source.line(place.line)
    return line[place.column - 1 : place.column - 1 + place.length] or str(node.value)


def _schema_paths(section: type[Section], prefix: str = "") -> list[str]:
    paths = []
    for name, field in section.model_fields.items():
        paths.append(f"{prefix}{name}")
        for member in members(field.annotation):
            if member.is_section:
                paths += _schema_paths(member.type, f"{prefix}{name}.")
    return paths
