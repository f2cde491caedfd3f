"""The backends installed here, each with what it offers or why it cannot be used."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points

from wmrun_envserver.server.discovery import GROUP, BackendError, backend_names, load_backend


@dataclass(frozen=True)
class Installed:
    """One backend; `problem` is None where it can be served."""

    name: str
    package: str
    num_env_ids: int
    problem: str | None


def installed() -> list[Installed]:
    """Load every backend in turn; what they print goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        return [_load(name) for name in backend_names()]


def as_json(backends: list[Installed]) -> str:
    """Return one JSON object per line."""
    return "\n".join(json.dumps(asdict(backend)) for backend in backends)


def as_table(backends: list[Installed]) -> str:
    """Return one line per backend, and below it what is missing."""
    width = max((len(backend.name) for backend in backends), default=0)
    return "\n".join(_line(backend, width) for backend in backends)


def _load(name: str) -> Installed:
    try:
        family = load_backend(name).family()
    except BackendError as error:
        return Installed(name, _packages(name), 0, str(error))
    return Installed(name, _packages(name), len(family.env_ids), None)


def _packages(name: str) -> str:
    owners = [point.dist for point in entry_points(group=GROUP) if point.name == name]
    return ", ".join(sorted(f"{owner.name} {owner.version}" for owner in owners if owner))


def _line(backend: Installed, width: int) -> str:
    start = f"{backend.name:{width}}  {backend.package}  "
    if backend.problem is None:
        return f"{start}{backend.num_env_ids or 'no'} env ids"
    problem = backend.problem.replace("\n", f"\n{' ' * (width + 2)}")
    return f"{start}cannot be used\n{' ' * (width + 2)}{problem}"
