"""Registrations: which package offers which component under which name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata

from wmrun.registry.kinds import KIND, KINDS

HOME = "wmrun"
"""The package that built-in components belong to."""


@dataclass(frozen=True)
class Registration:
    """One package's claim on one name of one kind."""

    kind: str
    name: str
    target: str
    """`module:attribute`, as in an entry point."""
    package: str
    version: str

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        return self.target.partition(":")[2]

    @property
    def built_in(self) -> bool:
        return self.package == HOME

    @property
    def owner(self) -> str:
        """The package and its version, as messages name it."""
        return f"{self.package} {self.version}"


def registrations(kind: str) -> tuple[Registration, ...]:
    """Return every registration of a kind, built-in ones first, in the order of their names."""
    version = _own_version()
    built_in = [
        Registration(kind, name, target, HOME, version)
        for name, target in KIND[kind].built_in.items()
    ]
    foreign = [entry for entry in third_party() if entry.kind == kind]
    return (*built_in, *sorted(foreign, key=lambda entry: (entry.name, entry.package)))


def third_party() -> tuple[Registration, ...]:
    """Return the registrations of all installed packages in the order of the search path."""
    return _scan(tuple(sys.path))[0]


def stray_groups() -> tuple[tuple[str, str], ...]:
    """Return `(group, package)` of entry points in groups named `wmrun.…` that are not ours."""
    return _scan(tuple(sys.path))[1]


# The search path is the key: a path added later, as notebooks do, is seen without a restart.
@lru_cache(maxsize=8)
def _scan(
    path: tuple[str, ...],
) -> tuple[tuple[Registration, ...], tuple[tuple[str, str], ...]]:
    kinds = {KIND[name].group: name for name in KINDS}
    found: dict[tuple[str, str, str], Registration] = {}
    stray: dict[tuple[str, str], None] = {}
    for dist, points in _distributions():
        package, version = str(dist.metadata["Name"]), str(dist.version)
        for point in points:
            if point.group not in kinds:
                stray[point.group, package] = None
                continue
            kind = kinds[point.group]
            entry = Registration(kind, point.name, point.value.replace(" ", ""), package, version)
            # A package found twice on the path is one package: the first shadows the second.
            found.setdefault((kind, point.name, _normal(package)), entry)
    return tuple(found.values()), tuple(stray)


def _distributions() -> Iterator[tuple[metadata.Distribution, list[metadata.EntryPoint]]]:
    for dist in metadata.distributions():
        try:
            points = [point for point in dist.entry_points if point.group.startswith(f"{HOME}.")]
        except Exception:
            # Damaged metadata of a package that may have nothing to do with wmrun.
            continue
        if points:
            yield dist, points


@lru_cache(maxsize=1)
def _own_version() -> str:
    try:
        return metadata.version(HOME)
    except metadata.PackageNotFoundError:
        return "unknown"


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
