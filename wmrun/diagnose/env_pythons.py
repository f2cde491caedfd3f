"""The Python interpreters that can serve environments, and which families each of them has."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wmrun.diagnose.probe import Probe, ask, last_line

VENVS = ".venvs"
"""Where the recipes put the environments of families that need one of their own."""
_DRAWING_FAMILY = "dmc"


def interpreters(directory: Path, named: Sequence[str] = ()) -> list[str]:
    """Return this interpreter, those of `directory/.venvs`, and the ones `named`."""
    found = sorted(str(path) for path in directory.glob(f"{VENVS}/*/bin/python"))
    return list(dict.fromkeys([sys.executable, *found, *named]))


def env_families(pythons: Sequence[str], only: str | None = None) -> Iterator[Probe]:
    """Yield which families each interpreter serves, what draws their frames, and what is missing.

    A family is missing when no interpreter serves it: a problem where it is the `only` one asked
    for, else a note.
    """
    missing: dict[str, _Backend] = {}
    served: set[str] = set()
    for python in pythons:
        backends = _listed(python)
        if isinstance(backends, Probe):
            yield backends
            continue
        asked = [backend for backend in backends if only in (None, backend.name)]
        here = [backend for backend in asked if not backend.problem]
        missing |= {backend.name: backend for backend in asked if backend.problem}
        served |= {backend.name for backend in here}
        if here:
            said = ", ".join(f"{backend.name} ({backend.num_env_ids:,})" for backend in here)
            yield Probe(_name(python), "ok", f"serves {said} env ids")
        if any(backend.name == _DRAWING_FAMILY for backend in here):
            yield from _renderers(python)
    for name in sorted(missing.keys() - served):
        problem, _, advice = missing[name].problem.partition("\n")
        yield Probe(name, "problem" if only else "note", problem, advice)
    if only is not None and only not in served | missing.keys():
        yield Probe(only, "problem", "no interpreter here has an env family of that name")


@dataclass(frozen=True)
class _Backend:
    name: str
    num_env_ids: int
    problem: str
    """Why it cannot be loaded; empty where it can."""


def _listed(python: str) -> list[_Backend] | Probe:
    status, out, err = ask([python, "-m", "wmrun_envserver", "list", "--json"])
    said = [_parsed(line) for line in out.splitlines()]
    if status == 0 and said and all(said):
        return [_Backend(b["name"], len(b["env_ids"]), b["problem"] or "") for b in said if b]
    if "No module named" in err and "wmrun_envserver" in err:
        advice = f"{python} -m pip install wmrun-envserver"
        return Probe(_name(python), "problem", "has no wmrun_envserver", advice)
    return Probe(_name(python), "problem", f"cannot be asked (exit {status}): {last_line(err)}")


def _name(python: str) -> str:
    return "this Python" if python == sys.executable else python


def _renderers(python: str) -> Iterator[Probe]:
    status, out, err = ask([python, "-m", "wmrun_envserver.backends.renderer", "--json"])
    said = _parsed(out)
    if said is None:
        message = f"renderers could not be tried (exit {status}): {last_line(err)}"
        yield Probe(_name(python), "problem", message)
        return
    results = said["renderers"]
    none_works = not any(result["works"] for result in results)
    for result in results:
        yield _renderer(result, is_needed=none_works)


def _renderer(result: dict[str, Any], *, is_needed: bool) -> Probe:
    name = f"frames by {result['name']}"
    if not result["works"]:
        advice = "apt-get install libegl1 libgl1 (egl) or libosmesa6 (osmesa)" if is_needed else ""
        return Probe(name, "problem" if is_needed else "note", result["failure"], advice)
    speed = f"{result['ms_per_frame']:.1f} ms per frame"
    message = f"drawn by {result['gl_renderer'] or 'an unknown renderer'}, {speed}"
    if result["software"]:
        return Probe(name, "note", f"{message}: in software", "A GPU draws in under 1 ms.")
    return Probe(name, "ok", message)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        said: Any = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
