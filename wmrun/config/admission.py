"""What a type admits, and how messages say it."""

from __future__ import annotations

import inspect
import re
import sys
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from wmrun.config.schema import Form, Located, NullRemoves, Section
from wmrun.config.tree import Mapping, Node, Scalar, Sequence
from wmrun.registry.annotations import Nested
from wmrun.registry.ranges import in_range, range_text


@dataclass(frozen=True)
class Member:
    """One alternative of a type: a scalar, `Literal`, list, tuple, dict, section or component."""

    type: Any
    marks: tuple[Any, ...] = ()

    @property
    def origin(self) -> Any:
        return get_origin(self.type) or self.type

    @property
    def args(self) -> tuple[Any, ...]:
        return get_args(self.type)

    @property
    def nested_kind(self) -> str | None:
        """The kind of component that this takes, if it takes one."""
        return next((mark.kind for mark in self.marks if isinstance(mark, Nested)), None)

    @property
    def located(self) -> Located | None:
        """Which of these strings are paths, if any are."""
        return next((mark for mark in self.marks if isinstance(mark, Located)), None)

    @property
    def null_removes(self) -> bool:
        """Whether a null in this mapping stands for no entry: where it cannot be a value."""
        if any(isinstance(mark, NullRemoves) for mark in self.marks):
            return True
        values = members(self.args[1]) if self.origin is dict and self.args else ()
        return bool(values) and not any(value.admits_scalar(None) for value in values)

    @property
    def is_section(self) -> bool:
        # Python 3.10 takes `dict[str, int]` for a class, too.
        is_class = get_origin(self.type) is None and inspect.isclass(self.type)
        return is_class and issubclass(self.type, Section)

    def admits(self, node: Node) -> bool:
        """Return whether the node has the right shape, leaving range and content open."""
        if isinstance(node, Mapping):
            return self.is_section or self.origin in (dict, Any)
        if isinstance(node, Sequence):
            return self.origin in (list, tuple, Any)
        return self.admits_scalar(node.value)

    def admits_scalar(self, value: Any) -> bool:
        """Return whether a scalar has the right type, leaving its range open."""
        if self.type is Any:
            return True
        if self.origin is Literal:
            return any(type(value) is type(arg) for arg in self.args)
        if self.type in (None, types.NoneType):
            return value is None
        return type(value) is self.type or (self.type is float and type(value) is int)

    def objection(self, value: Any) -> str | None:
        """Return what is wrong with a scalar of the right shape, or None."""
        if self.origin is Literal and value not in self.args:
            return "is not one of the choices"
        if self.type is float and abs(value) > sys.float_info.max:
            return "is out of range"
        if not in_range(value, self.marks):
            return "is out of range"
        for mark in self.marks:
            if isinstance(mark, Form) and not re.match(mark.pattern, value):
                return "does not have the right form"
        return None

    def words(self) -> str:
        """Return what the member admits, as in `an integer >= 1`."""
        if self.nested_kind is not None:
            return f"a mapping with the `type` of the {self.nested_kind} and its options"
        if self.origin is Literal:
            return f"one of {', '.join(str(arg) for arg in self.args)}"
        if self.origin in (list, tuple):
            return _list_words(self)
        forms = [mark.words for mark in self.marks if isinstance(mark, Form)]
        if forms:
            return forms[0]
        return f"{_NOUNS.get(self.origin, 'a mapping')} {range_text(self.marks)}".rstrip()

    def choices(self) -> tuple[str, ...]:
        """Return the strings that could be suggested in place of a wrong one."""
        if self.origin is Literal:
            return tuple(arg for arg in self.args if isinstance(arg, str))
        return tuple(
            text for mark in self.marks if isinstance(mark, Form) for text in mark.examples
        )


_NOUNS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
    None: "null",
    types.NoneType: "null",
    Any: "anything",
}


def members(annotation: Any, marks: tuple[Any, ...] = ()) -> tuple[Member, ...]:
    """Return the alternatives of a type; more than one where it is a union."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return members(args[0], (*args[1:], *marks))
    if origin in (Union, types.UnionType):
        return tuple(member for arg in args for member in members(arg))
    return (Member(annotation, marks),)


def words(annotation: Any, marks: tuple[Any, ...] = ()) -> str:
    """Return what a type admits, as in `an integer >= 1 or null`."""
    return " or ".join(member.words() for member in members(annotation, marks))


def kind_of(node: Node) -> str:
    """Return what a node is, with its article."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(value=None):
            return "null"
        case Scalar(value=bool()):
            return "a boolean"
        case Scalar(value=int()):
            return "an integer"
        case Scalar(value=float()):
            return "a float"
    return "a string"


def _list_words(member: Member) -> str:
    args = member.args
    if member.origin is list or args[1:] == (...,):
        return f"a list, each item {words(args[0])}"
    return f"a list of {len(args)}: {', '.join(words(arg) for arg in args)}"
