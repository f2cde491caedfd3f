"""The types that an option of a component may have, from its annotation in source or at run time.

Both ways end in the same plain typing objects: `int`, `float`, `bool`, `str`, `Any`, `None`,
`Literal[...]`, `list[X]`, `tuple[X, ...]`, `dict[str, X]`, unions of these,
`Annotated[dict[str, Any], Nested(kind)]` for a component inside a component, and `int` or `float`
with a range, as in `Annotated[int, Ge(1)]`.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Union, get_args, get_origin

from wmrun.registry.ranges import BOUNDS, bounds, range_text


@dataclass(frozen=True)
class Nested:
    """Marks an option whose value is itself a component, written as a mapping with a `type` key."""

    kind: str


if TYPE_CHECKING:
    Component = Mapping[str, Any]
else:

    class Component:
        """The annotation of a parameter that takes a component: `Annotated[Component, "latent"]`.

        The shorter `Component["latent"]` means the same, but type checkers take the kind for a
        type. The value is a mapping: the component's registered name under `type`, and its options.
        """

        def __class_getitem__(cls, kind: str) -> Any:
            return nested(kind)


class UnreadableAnnotation(Exception):
    """An annotation uses something that an option's type may not be made of."""


class Scope(Protocol):
    """The module that an annotation was written in."""

    def alias(self, name: str) -> tuple[ast.expr, Scope] | None:
        """Return what was assigned to `name`, with the module that assigned it."""


_SCALARS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "Any": Any}
_LISTS = {"list", "List", "Sequence"}
_DICTS = {"dict", "Dict", "Mapping"}
_TUPLES = {"tuple", "Tuple"}
_BARE: dict[Any, Any] = {list: list[Any], dict: dict[str, Any], tuple: tuple[Any, ...]}


def nested(kind: str) -> Any:
    """Return the type of an option that takes a component of `kind`."""
    return Annotated[dict[str, Any], Nested(kind)]


def from_source(node: ast.expr, scope: Scope) -> Any:
    """Return the type that an annotation's syntax tree denotes. Raises `UnreadableAnnotation`."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return from_source(ast.parse(text, mode="eval").body, scope)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[from_source(left, scope), from_source(right, scope)]  # noqa: UP007
        case ast.Subscript(value=value, slice=index):
            items = index.elts if isinstance(index, ast.Tuple) else [index]
            return _generic(_last_name(value), items, scope)
        case ast.Name() | ast.Attribute():
            return _named(node, scope)
    raise UnreadableAnnotation(ast.unparse(node))


def from_runtime(annotation: Any) -> Any:
    """Return the type that a run-time annotation denotes. Raises `UnreadableAnnotation`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in (None, types.NoneType):
        return None
    if annotation in (int, float, bool, str, Any):
        return annotation
    if annotation in _BARE:
        return _BARE[annotation]
    if origin is Literal:
        return annotation
    if origin is Annotated:
        return _annotated(args)
    if origin in (Union, types.UnionType):
        return Union[tuple(from_runtime(arg) for arg in args)]  # noqa: UP007
    if origin in (list, Sequence):
        return list[from_runtime(args[0])]  # type: ignore[misc]
    if origin in (dict, Mapping):
        return dict[str, from_runtime(args[1])]  # type: ignore[misc]
    if origin is tuple:
        return tuple[tuple(arg if arg is ... else from_runtime(arg) for arg in args)]  # type: ignore[misc]
    raise UnreadableAnnotation(repr(annotation))


def type_text(annotation: Any) -> str:
    """Return an option's type as help shows it: `int`, `"elu" | "silu"`, `latent component`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in (None, types.NoneType):
        return "null"
    if origin is Literal:
        return " | ".join(f'"{arg}"' if isinstance(arg, str) else str(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(arg) for arg in args)
    if origin is Annotated:
        marks = [mark.kind for mark in args[1:] if isinstance(mark, Nested)]
        ranged = f"{type_text(args[0])} {range_text(args[1:])}".rstrip()
        return f"{marks[0]} component" if marks else ranged
    if origin is not None:
        inner = ", ".join("..." if arg is ... else type_text(arg) for arg in args)
        return f"{origin.__name__}[{inner}]"
    return "any" if annotation is Any else annotation.__name__


def _generic(name: str, items: list[ast.expr], scope: Scope) -> Any:
    if name == "Literal":
        return Literal[tuple(ast.literal_eval(item) for item in items)]
    if name == "Component":
        return nested(ast.literal_eval(items[0]))
    if name == "Annotated":
        return _annotated_source(items, scope)
    if name == "Optional":
        return Union[from_source(items[0], scope), None]  # noqa: UP007
    if name == "Union":
        return Union[tuple(from_source(item, scope) for item in items)]  # noqa: UP007
    if name in _LISTS:
        return list[from_source(items[0], scope)]  # type: ignore[misc]
    if name in _DICTS:
        return dict[str, from_source(items[1], scope)]  # type: ignore[misc]
    if name in _TUPLES:
        return tuple[tuple(_item(item, scope) for item in items)]  # type: ignore[misc]
    raise UnreadableAnnotation(name)


def _item(node: ast.expr, scope: Scope) -> Any:
    return ... if isinstance(node, ast.Constant) and node.value is ... else from_source(node, scope)


def _named(node: ast.Name | ast.Attribute, scope: Scope) -> Any:
    name = _last_name(node)
    if name in _SCALARS:
        return _SCALARS[name]
    if name in _LISTS | _DICTS | _TUPLES:
        return _BARE[list if name in _LISTS else dict if name in _DICTS else tuple]
    found = scope.alias(name) if isinstance(node, ast.Name) else None
    if found is None:
        raise UnreadableAnnotation(ast.unparse(node))
    return from_source(*found)


def _annotated_source(items: list[ast.expr], scope: Scope) -> Any:
    base = items[0]
    if isinstance(base, (ast.Name, ast.Attribute)) and _last_name(base) == "Component":
        return nested(ast.literal_eval(items[1]))
    return _ranged(from_source(base, scope), [mark for item in items[1:] for mark in _bound(item)])


def _bound(node: ast.expr) -> list[Any]:
    """Return the bound that a mark in source stands for, nothing where it is another mark."""
    if not isinstance(node, ast.Call) or _last_name(node.func) not in BOUNDS:
        return []
    (limit,) = [*node.args, *(keyword.value for keyword in node.keywords)]
    return [BOUNDS[_last_name(node.func)](ast.literal_eval(limit))]


def _ranged(base: Any, marks: Sequence[Any]) -> Any:
    """Return a type with a range put on every number that it admits."""
    origin, args = get_origin(base), get_args(base)
    if origin is Union:
        return Union[tuple(_ranged(arg, marks) for arg in args)]  # noqa: UP007
    is_number = (args[0] if origin is Annotated else base) in (int, float)
    parts = (base, *marks)
    return Annotated[parts] if is_number and marks else base


def _annotated(args: tuple[Any, ...]) -> Any:
    base, *marks = args
    for mark in marks:
        if isinstance(mark, Nested):
            return nested(mark.kind)
    if base is Component:
        return nested(marks[0])
    return _ranged(from_runtime(base), bounds(marks))


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    raise UnreadableAnnotation(ast.unparse(node))
