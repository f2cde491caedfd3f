"""Components by kind and name: finding, importing and building them."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from wmrun.errors import AmbiguousComponent, BrokenPlugin, UnknownComponent
from wmrun.registry.entries import Registration, registrations
from wmrun.registry.kinds import KIND, KINDS
from wmrun.spelling import closest


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
        raise broken(entry, f"{type(error).__name__}: {error}") from error
    _check_contract(entry, component)
    return component


def broken(entry: Registration, reason: str) -> BrokenPlugin:
    """Return the error that a registered component cannot be used for `reason`."""
    hint = "`wmrun plugins` shows the state of every package that extends wmrun"
    return BrokenPlugin(
        f"the {entry.kind} {entry.name!r} of {entry.owner}",
        reason,
        hint=None if entry.built_in else hint,
    )


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
        raise broken(entry, f"{entry.target} is neither a class nor a function")
    if not inspect.isclass(component):
        return
    missing = [name for name in KIND[entry.kind].methods if not hasattr(component, name)]
    if missing:
        article = "the method" if len(missing) == 1 else "the methods"
        raise broken(
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


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
