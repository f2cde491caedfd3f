"""The backends installed here, each with what it offers or why it cannot be used."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, entry_points

from wmrun_envserver.server.discovery import GROUP, BackendError, backend_names, load_backend

_SHOWN = 4


@dataclass(frozen=True)
class Installed:
    """One backend; `problem` is None where it can be served."""

    name: str
    package: str
    extra: str | None
    """What pip takes in brackets to install the simulator, where that is optional."""
    env_ids: tuple[str, ...]
    """Those that need no `--env`."""
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
    owners = [point.dist for point in entry_points(group=GROUP) if point.name == name]
    package = ", ".join(sorted(f"{owner.name} {owner.version}" for owner in owners if owner))
    extra = next((extra for owner in owners if owner for extra in _extras(owner, name)), None)
    try:
        env_ids = load_backend(name).family().env_ids
    except BackendError as error:
        return Installed(name, package, extra, (), str(error))
    return Installed(name, package, extra, env_ids, None)


def _extras(owner: Distribution, name: str) -> list[str]:
    """Return the extra of the backend `name`: called as that is, or as its first word.

    Installed packages spell `-` what a project file may spell `_`.
    """
    wanted = (name.replace("_", "-"), name.partition("_")[0])
    offered = owner.metadata.get_all("Provides-Extra") or []
    return [extra for extra in offered if extra.replace("_", "-") in wanted]


def _line(backend: Installed, width: int) -> str:
    extra = f" [{backend.extra}]" if backend.extra else ""
    start = f"{backend.name:{width}}  {backend.package}{extra}: "
    if backend.problem is not None:
        indent = " " * (width + 2)
        return f"{start}cannot be used\n{indent}" + backend.problem.replace("\n", f"\n{indent}")
    if not backend.env_ids:
        return f"{start}env ids by --env ID=SOURCE alone"
    shown = ", ".join(backend.env_ids[:_SHOWN])
    more = len(backend.env_ids) - _SHOWN
    return f"{start}{shown}{f' and {more} more' if more > 0 else ''}"
