"""The options of a component: the keyword-only parameters of its constructor.

They are read from source by `ast`, so that checking a file or listing components imports no torch.
Where source does not tell (compiled modules, computed defaults), the component is imported.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wmrun.registry.annotations import UnreadableAnnotation, from_runtime, from_source
from wmrun.registry.source import Definition, ModuleSource, read_module

CONTEXT_KEYWORDS = frozenset({"device"})
"""Keyword-only parameters without default that the caller of `build` supplies, never a file."""


@dataclass(frozen=True)
class Option:
    """One keyword-only parameter of a component's constructor."""

    name: str
    type: Any
    """A typing object as described in `wmrun.registry.annotations`."""
    required: bool
    default: Any
    """A literal; None where the option is required."""
    help: str
    path: Path | None
    line: int
    """Where the parameter is written, from 1."""


@dataclass(frozen=True)
class Signature:
    """What can be known of a component without building it."""

    summary: str
    options: tuple[Option, ...]
    path: Path | None
    line: int


class UnreadableSource(Exception):
    """A component's options cannot be told from its source; it has to be imported."""


def read_signature(module: str, attribute: str) -> Signature:
    """Return a component's signature from its source. Raises `UnreadableSource`."""
    source = read_module(module)
    if source is None:
        raise UnreadableSource(f"no Python source for {module}")
    found = source.definition(attribute)
    if found is None:
        raise UnreadableSource(f"{source.path} does not define {attribute}")
    node, home = found
    constructor, scope = _constructor(node, home)
    notes = _docstring(node)
    if isinstance(node, ast.ClassDef) and constructor is not None:
        notes += "\n\n" + _docstring(constructor)
    options = _read_options(constructor, scope, _argument_help(notes)) if constructor else ()
    return Signature(_summary(notes), options, home.path, node.lineno)


def signature_of(component: Callable[..., Any]) -> Signature:
    """Return the signature of an imported component. Raises `UnreadableAnnotation`."""
    constructor = component.__init__ if inspect.isclass(component) else component  # type: ignore[misc]
    hints = typing.get_type_hints(constructor, include_extras=True)
    notes = f"{inspect.getdoc(component) or ''}\n\n{inspect.getdoc(constructor) or ''}"
    helps = _argument_help(notes)
    path, line = _place_of(component)
    options = tuple(
        Option(
            name=name,
            type=from_runtime(hints.get(name, Any)),
            required=parameter.default is parameter.empty,
            default=None if parameter.default is parameter.empty else parameter.default,
            help=helps.get(name, ""),
            path=path,
            line=line,
        )
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and not _is_context(name, parameter.default is parameter.empty)
    )
    return Signature(_summary(notes), options, path, line)


def _constructor(
    node: Definition, home: ModuleSource
) -> tuple[ast.FunctionDef | None, ModuleSource]:
    if isinstance(node, ast.FunctionDef):
        return node, home
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return item, home
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        raise UnreadableSource(f"{node.name} has a generated constructor")
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in ("object", "ABC"):
            continue
        found = home.definition(base.id) if isinstance(base, ast.Name) else None
        if found is None:
            raise UnreadableSource(f"{node.name} inherits its constructor from {ast.unparse(base)}")
        constructor, scope = _constructor(*found)
        if constructor is not None:
            return constructor, scope
    return None, home


def _read_options(
    constructor: ast.FunctionDef, scope: ModuleSource, helps: dict[str, str]
) -> tuple[Option, ...]:
    arguments = constructor.args
    return tuple(
        _read_option(argument, default, scope, helps.get(argument.arg, ""))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if not _is_context(argument.arg, default is None)
    )


def _read_option(
    argument: ast.arg, default: ast.expr | None, scope: ModuleSource, text: str
) -> Option:
    try:
        annotation = Any if argument.annotation is None else from_source(argument.annotation, scope)
        value = None if default is None else _literal(default, scope)
    except (UnreadableAnnotation, ValueError, SyntaxError) as error:
        raise UnreadableSource(f"{scope.path}:{argument.lineno}: {argument.arg}") from error
    return Option(
        argument.arg, annotation, default is None, value, text, scope.path, argument.lineno
    )


def _literal(node: ast.expr, scope: ModuleSource) -> Any:
    """Return the value of a literal, or of the constant that a name stands for."""
    found = scope.alias(node.id) if isinstance(node, ast.Name) else None
    return _literal(*found) if found is not None else ast.literal_eval(node)


def _is_context(name: str, required: bool) -> bool:
    return required and name in CONTEXT_KEYWORDS


def _docstring(node: Definition) -> str:
    return ast.get_docstring(node) or ""


def _summary(notes: str) -> str:
    return " ".join(notes.strip().split("\n\n")[0].split())


def _argument_help(notes: str) -> dict[str, str]:
    """Return the help of each parameter from the `Args:` sections of docstrings."""
    helps: dict[str, str] = {}
    margin, name = -1, ""
    inside = False
    for line in notes.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() in ("Args:", "Arguments:"):
            inside, margin = True, -1
        elif inside and line.strip() and indent == 0:
            inside = False
        elif inside and line.strip():
            margin = indent if margin < 0 else margin
            entry = re.match(r"\s*`?\*{0,2}(\w+)`?(?: \([^)]*\))?:\s*(.*)", line)
            if indent == margin and entry:
                name = entry[1]
                helps[name] = entry[2].strip()
            elif name:
                helps[name] = f"{helps[name]} {line.strip()}".strip()
    return helps


def _place_of(component: Callable[..., Any]) -> tuple[Path | None, int]:
    try:
        return Path(inspect.getfile(component)), inspect.getsourcelines(component)[1]
    except (OSError, TypeError):
        return None, 0
