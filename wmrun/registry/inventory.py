"""What there is: components with their summary, options, package and place."""

from __future__ import annotations

from dataclasses import dataclass

from wmrun.errors import BrokenPlugin
from wmrun.registry.annotations import UnreadableAnnotation
from wmrun.registry.entries import Registration, registrations, third_party
from wmrun.registry.lookup import broken, find, known_kind, load
from wmrun.registry.signature import (
    Option,
    Signature,
    UnreadableSource,
    read_signature,
    signature_of,
)
from wmrun.registry.source import module_exists

OK = "ok"


@dataclass(frozen=True)
class ComponentInfo:
    """What `wmrun list`, `show` and `plugins` say of a component."""

    kind: str
    name: str
    package: str
    version: str
    location: str
    """`file:line` of its definition, or `module:attribute` where there is no source."""
    summary: str
    options: tuple[Option, ...]
    status: str
    """`ok`, or why the component cannot be used."""


def describe(kind: str, name: str) -> ComponentInfo:
    """Return what is known of a component, without importing it where its source can be read.

    Raises what `get` raises; `BrokenPlugin` only where importing was needed and failed.
    """
    entry = find(kind, name)
    return _info(entry, signature(entry), OK)


def inventory(kind: str) -> tuple[ComponentInfo, ...]:
    """Return every registration of a kind; those that cannot be used say so in their status."""
    return tuple(_survey(entry) for entry in registrations(known_kind(kind)))


def inspect_plugins() -> tuple[ComponentInfo, ...]:
    """Import every component of other packages and return them, the outcome as their status."""
    return tuple(_try_out(entry) for entry in third_party())


def signature(entry: Registration) -> Signature:
    """Return a registered component's summary and options. Raises `BrokenPlugin`."""
    if not module_exists(entry.module):
        raise broken(entry, f"there is no module {entry.module}")
    try:
        return read_signature(entry.module, entry.attribute)
    except UnreadableSource:
        pass
    try:
        return signature_of(load(entry))
    except UnreadableAnnotation as error:
        raise broken(entry, f"an option has the type {error}, which no option may have") from error


def _survey(entry: Registration) -> ComponentInfo:
    try:
        read = signature(entry)
    except BrokenPlugin as error:
        return _info(entry, None, f"broken: {error.reason}")
    return _info(entry, read, _clash(entry) or OK)


def _try_out(entry: Registration) -> ComponentInfo:
    try:
        load(entry)
    except BrokenPlugin as error:
        return _info(entry, None, f"broken: {error.reason}")
    return _survey(entry)


def _clash(entry: Registration) -> str | None:
    others = [
        other.owner
        for other in registrations(entry.kind)
        if other.name == entry.name and other != entry
    ]
    return f"name also taken by {' and by '.join(others)}" if others else None


def _info(entry: Registration, read: Signature | None, status: str) -> ComponentInfo:
    return ComponentInfo(
        kind=entry.kind,
        name=entry.name,
        package=entry.package,
        version=entry.version,
        location=f"{read.path}:{read.line}" if read and read.path else entry.target,
        summary=read.summary if read else "",
        options=read.options if read else (),
        status=" ".join(status.split()),
    )
