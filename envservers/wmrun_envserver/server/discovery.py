"""Backends by name, found among the installed packages and imported only when asked for."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

from wmrun_envserver.backends.base import AnyBackend, Backend, VectorBackend

GROUP = "wmrun_envserver.backends"


class BackendError(Exception):
    """A backend cannot be used; the message says why and what to do."""


class UnknownBackendError(BackendError):
    """No installed package offers a backend of that name."""


class NothingAllowedError(BackendError):
    """A pattern of `--allow` matches no env id."""


def backend_names() -> list[str]:
    """Return the names on offer, sorted; imports none of them."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load_backend(name: str) -> AnyBackend:
    """Import and build the backend `name`; raises `BackendError` with the package and the cause."""
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise UnknownBackendError(_unknown(name))
    owners = sorted({_package(point) for point in points})
    if len(owners) > 1:
        raise BackendError(
            f"backend {name!r} is offered by several packages: {', '.join(owners)}; "
            "uninstall all but one"
        )
    return _build(points[0])


def _build(point: EntryPoint) -> AnyBackend:
    try:
        backend = point.load()()
    except (Exception, SystemExit) as error:
        raise BackendError(
            f"backend {point.name!r} of {_package(point)} cannot be loaded: "
            f"{type(error).__name__}: {error}{_hint(point, error)}"
        ) from error
    if not isinstance(backend, Backend | VectorBackend):
        raise BackendError(
            f"backend {point.name!r} of {_package(point)}: {point.value} is not a "
            "wmrun_envserver.backends.base.Backend or VectorBackend"
        )
    return backend


def _unknown(name: str) -> str:
    names = backend_names()
    close = difflib.get_close_matches(name, names, n=1)
    suggestion = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown backend {name!r}{suggestion}\nInstalled are: {', '.join(names) or 'none'}"


def _hint(point: EntryPoint, error: BaseException) -> str:
    extras = point.dist.metadata.get_all("Provides-Extra") or [] if point.dist else []
    extra = point.name.replace("_", "-")  # as installed packages spell it
    if not isinstance(error, ImportError) or point.dist is None or extra not in extras:
        return ""
    return f'\nInstall what it needs: pip install "{point.dist.name}[{extra}]"'


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
