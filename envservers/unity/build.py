"""Builds the virtual environment of the unity_mlagents env server.

    python envservers/unity/build.py [--python PYTHON] [--venv .venvs/unity]

Needs no more than some Python from 3.10 with `venv`. README.md, beside this file, says what is
installed and why it cannot be installed in the usual way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

MLAGENTS = "mlagents_envs==1.1.0"
BEST = (3, 10)
"""The one Python for which there are wheels of protobuf 3.20 with its C++ parser."""

_VERSION = "import sys, venv, ensurepip; print(*sys.version_info[:3])"
_CHECK = """
import google.protobuf, grpc, sys
from wmrun_envserver.backends.unity import UnityBackend
UnityBackend()
versions = f"protobuf {google.protobuf.__version__}, grpcio {grpc.__version__}"
print(f"Python {sys.version.split()[0]}, {versions}")
"""


def main() -> int:
    options = _options()
    try:
        python, version = _choose(options.python)
        fits = version[:2] == BEST
        requirements = HERE / ("requirements.txt" if fits else "requirements-shim.txt")
        print(f"Python {'.'.join(map(str, version))}: {python}")
        if not fits:
            print("This is no Python 3.10: the messages of mlagents_envs are made at run time.")
        venv = options.venv.absolute()
        _run(python, "-m", "venv", "--clear", str(venv))
        interpreter = venv / "bin" / "python"
        _pip(interpreter, "--requirement", str(requirements))
        # Its metadata excludes Python 3.10.13 and newer, gym and pettingzoo are never imported.
        _pip(interpreter, "--no-deps", "--ignore-requires-python", MLAGENTS)
        _pip(interpreter, "--no-deps", *options.envserver)
        print(f"{venv} works: {_run(str(interpreter), '-c', _CHECK).strip()}")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Start it with env.server.python: {interpreter}")
    return 0


class BuildError(Exception):
    """The environment cannot be built; the message says at which step."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", help="the Python to use (default: a 3.10, else this one)")
    parser.add_argument(
        "--venv", type=Path, default=ROOT / ".venvs" / "unity", help="where (%(default)s)"
    )
    checkout = ROOT / "envservers" / "pyproject.toml"
    default = ["--editable", str(checkout.parent)] if checkout.exists() else ["wmrun-envserver"]
    parser.add_argument(
        "--envserver",
        type=lambda requirement: [requirement],
        default=default,
        help="what pip installs as the env server (default: this checkout)",
    )
    return parser.parse_args()


def _choose(wanted: str | None) -> tuple[str, tuple[int, ...]]:
    """Return a Python and its version: the one wanted, else a 3.10, else the one that runs this."""
    if wanted is not None:
        version = _version(wanted)
        if version is None or version[:2] < BEST:
            raise BuildError(f"--python {wanted} is no Python from 3.10 with venv")
        return wanted, version
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version[:2] == BEST:
            return candidate, version
    version = _version(sys.executable)
    if version is None or version[:2] < BEST:
        raise BuildError(
            f"found no Python 3.10, and {sys.executable} is too old or lacks venv: "
            "install Python 3.10 (pyenv install 3.10, or python3.10-venv) or give --python"
        )
    return sys.executable, version


def _candidates() -> Iterator[str]:
    """Yield what may be a Python 3.10; pyenv's shim of that name need not stand for one."""
    found = shutil.which("python3.10")
    if found:
        yield found
    yield sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob("versions/3.10.*/bin/python"), reverse=True))


def _version(python: str) -> tuple[int, ...] | None:
    try:
        done = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(map(int, done.stdout.split()))


def _pip(interpreter: Path, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    _run(str(interpreter), "-m", "pip", "install", *quiet, *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(
            f"{done.stdout}{done.stderr}\nfailed with exit code {done.returncode}: "
            f"{' '.join(command)}"
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
