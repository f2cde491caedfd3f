"""The Python interpreters that can serve environments, and what each of them offers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wmrun.diagnose.probe import Probe, ask, last_line

VENVS = ".venvs"
"""Where the recipes put the environments of families that need one of their own."""


def interpreters(directory: Path, named: Sequence[str] = ()) -> list[str]:
    """Return this interpreter, those of `directory/.venvs`, and the ones `named`."""
    found = sorted(str(path) for path in directory.glob(f"{VENVS}/*/bin/python"))
    return list(dict.fromkeys([sys.executable, *found, *named]))


def env_python(python: str, family: str | None = None) -> Iterator[Probe]:
    """Yield probes of the env families of one interpreter, of one `family` only if it is given."""
    subject = "this Python" if python == sys.executable else python
    status, out, err = ask([python, "-m", "wmrun_envserver", "list", "--json"])
    backends = [_parsed(line) for line in out.splitlines()]
    if status != 0 or not backends or None in backends:
        yield _no_server(subject, python, status, err)
        return
    names = [backend["name"] for backend in backends if backend]
    if family is not None and family not in names:
        message = f"no such env family, only {', '.join(names)}"
        yield Probe(f"{subject}: {family}", "problem", message)
    for backend in backends:
        if backend and family in (None, backend["name"]):
            yield _backend(subject, backend, is_asked_for=family is not None)
            if backend["name"] == "dmc" and backend["problem"] is None:
                yield from _renderers(subject, python)


def _no_server(subject: str, python: str, status: int, err: str) -> Probe:
    if "No module named" in err:
        message = "has no wmrun_envserver"
        advice = f"{python} -m pip install wmrun-envserver"
        return Probe(subject, "problem", message, advice)
    return Probe(subject, "problem", f"cannot be asked (exit {status}): {last_line(err)}")


def _backend(subject: str, backend: dict[str, Any], *, is_asked_for: bool) -> Probe:
    name = f"{subject}: {backend['name']}"
    if backend["problem"] is None:
        return Probe(name, "ok", f"{backend['num_env_ids']} env ids")
    problem, _, advice = backend["problem"].partition("\n")
    # A family that nobody asked for is no problem: most machines have one or two.
    return Probe(name, "problem" if is_asked_for else "note", problem, advice)


def _renderers(subject: str, python: str) -> Iterator[Probe]:
    status, out, err = ask([python, "-m", "wmrun_envserver.backends.renderer", "--json"])
    said = _parsed(out)
    if said is None:
        message = f"renderers could not be tried (exit {status}): {last_line(err)}"
        yield Probe(f"{subject}: frames", "problem", message)
        return
    results = said["renderers"]
    working = [result for result in results if result["works"]]
    for result in results:
        yield _renderer(subject, result, is_needed=not working)


def _renderer(subject: str, result: dict[str, Any], *, is_needed: bool) -> Probe:
    name = f"{subject}: {result['name']}"
    if not result["works"]:
        advice = "apt-get install libegl1 libgl1 (egl) or libosmesa6 (osmesa)" if is_needed else ""
        return Probe(name, "problem" if is_needed else "note", result["failure"], advice)
    speed = f"{result['ms_per_frame']:.1f} ms per frame"
    message = f"draws, {result['gl_renderer'] or 'an unknown renderer'}, {speed}"
    if result["software"]:
        return Probe(name, "note", f"{message}: in software", "Slow: a GPU draws in under 1 ms.")
    return Probe(name, "ok", message)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        said: Any = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
