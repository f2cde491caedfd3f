"""Components by kind and name: listing, describing, loading and building them."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wmrun.errors import AmbiguousComponent, BrokenPlugin, UnknownComponent
from wmrun.registry.annotations import UnreadableAnnotation
from wmrun.registry.entries import Registration, registrations
from wmrun.registry.kinds import KIND, KINDS
from wmrun.registry.signature import (
    Option,
    Signature,
    UnreadableSource,
    read_signature,
    signature_of,
)
from wmrun.registry.source import module_exists
from wmrun.spelling import closest


@dataclass(frozen=True)
class ComponentInfo:
    """What `wmrun list` and `wmrun show` say of a component."""

    kind: str
    name: str
    package: str
    version: str
    location: str
    """`file:line` of its definition, or `module:attribute` where there is no source."""
    summary: str
    options: tuple[Option, ...]
    status: str
    """"ok", or why the component cannot be used."""


def names(kind: str) -> tuple[str, ...]:
    """Return the registered names of a kind, built-in ones first.

    Raises `UnknownComponent` with the closest kind when there is no such kind.
    """
    return tuple(dict.fromkeys(entry.name for entry in registrations(known_kind(kind))))


def get(kind: str, name: str) -> Any:
    """Import and return the component registered under `name`, or under `package:name`.

    Raises `UnknownComponent` with the closest match, `AmbiguousComponent` where two packages claim
    the name, and `BrokenPlugin` where it cannot be imported or lacks what its kind promises.
    """
    return load(find(kind, name))


def build(kind: str, spec: Mapping[str, Any], *args: Any, **context: Any) -> Any:
    """Construct the component named by `spec["type"]`; the rest of `spec` are its options."""
    options = {key: value for key, value in spec.items() if key != "type"}
    return get(kind, spec["type"])(*args, **options, **context)


def describe(kind: str, name: str) -> ComponentInfo:
    """Return what is known of a component, without importing it where its source can be read.

    Raises what `get` raises, where only importing could tell and the import fails.
    """
    entry = find(kind, name)
    return info(entry, signature(entry))


def signature(entry: Registration) -> Signature:
    """Return a registered component's options. Raises `BrokenPlugin`."""
    if not module_exists(entry.module):
        raise _broken(entry, f"there is no module {entry.module}")
    try:
        return read_signature(entry.module, entry.attribute)
    except UnreadableSource:
        pass
    try:
        return signature_of(load(entry))
    except UnreadableAnnotation as error:
        raise _broken(entry, f"an option has the type {error}, which no option may have") from error


def info(entry: Registration, read: Signature | None, status: str = "ok") -> ComponentInfo:
    """Return the description of a registration whose signature was read, or could not be."""
    return ComponentInfo(
        kind=entry.kind,
        name=entry.name,
        package=entry.package,
        version=entry.version,
        location=f"{read.path}:{read.line}" if read and read.path else entry.target,
        summary=read.summary if read else "",
        options=read.options if read else (),
        status=status,
    )


def find(kind: str, name: str) -> Registration:
    """Return the one registration that `name` or `package:name` means."""
    entries = registrations(known_kind(kind))
    package, _, bare = name.rpartition(":")
    claims = [entry for entry in entries if entry.name == bare and package in ("", entry.package)]
    if not claims:
        raise _unknown(kind, name, entries)
    if len(claims) > 1:
        raise _ambiguous(claims)
    return claims[0]


def load(entry: Registration) -> Any:
    """Import a component and check it against its kind's contract. Raises `BrokenPlugin`."""
    try:
        # What a package prints while it is imported must not end up among a command's results.
        with contextlib.redirect_stdout(sys.stderr):
            component: Any = importlib.import_module(entry.module)
            for part in entry.attribute.split("."):
                component = getattr(component, part)
    except (Exception, SystemExit) as error:
        raise _broken(entry, f"{type(error).__name__}: {error}") from error
    _check_contract(entry, component)
    return component


def known_kind(kind: str) -> str:
    """Return `kind`. Raises `UnknownComponent` with the closest match when it is none."""
    if kind not in KIND:
        near = closest(kind, KINDS)
        raise UnknownComponent(
            f"there is no kind of component called {kind!r}; the kinds are {', '.join(KINDS)}",
            hint=None if near is None else f"did you mean {near!r}?",
        )
    return kind


def _check_contract(entry: Registration, component: Any) -> None:
    if not callable(component):
        raise _broken(entry, f"{entry.target} is neither a class nor a function")
    if not inspect.isclass(component):
        return
    missing = [name for name in KIND[entry.kind].methods if not hasattr(component, name)]
    if missing:
        article = "the method" if len(missing) == 1 else "the methods"
        raise _broken(
            entry, f"{entry.target} lacks {article} {', '.join(missing)} of {_a(entry.kind)}"
        )


def _unknown(kind: str, name: str, entries: tuple[Registration, ...]) -> UnknownComponent:
    near = closest(name, [entry.name for entry in entries])
    guess = "" if near is None else f"did you mean {near!r}? "
    return UnknownComponent(
        f"no {kind} is called {name!r}",
        hint=f"{guess}`wmrun list {kind}` lists what there is",
    )


def _ambiguous(claims: list[Registration]) -> AmbiguousComponent:
    first = claims[0]
    return AmbiguousComponent(
        f"the {first.kind} name {first.name!r} is taken by "
        + " and by ".join(claim.owner for claim in claims),
        hint="write " + " or ".join(f"{claim.package}:{claim.name}" for claim in claims),
    )


def _broken(entry: Registration, reason: str) -> BrokenPlugin:
    return BrokenPlugin(
        f"the {entry.kind} {entry.name!r} of {entry.owner} cannot be used: {reason}",
        hint="`wmrun plugins` shows the state of every package that extends wmrun",
    )


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
