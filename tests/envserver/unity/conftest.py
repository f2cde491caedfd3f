from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.envserver.server.client import Client
from tests.envserver.unity.standin.scenarios import SCENARIOS

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("WMRUN_UNITY_PYTHON", ROOT / ".venvs" / "unity" / "bin" / "python"))


@dataclass
class Served:
    """A server process of the backend unity_mlagents."""

    process: subprocess.Popen[bytes]
    client: Client
    logs: Path
    """Where its players write what they are told."""

    def players(self) -> list[PlayerLog]:
        """Return the logs of the players so far, in the order in which they started."""
        files = self.logs.glob("*.jsonl")
        return [PlayerLog(file) for file in sorted(files, key=lambda file: file.stat().st_ctime_ns)]


@dataclass
class PlayerLog:
    """What one player was told."""

    file: Path

    @property
    def pid(self) -> int:
        return int(self.file.stem)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what it noted under `name`."""
        lines = map(json.loads, self.file.read_text().splitlines())
        return [line for line in lines if line["event"] == name]


@pytest.fixture(scope="session")
def unity_python() -> Path:
    """The Python with mlagents_envs."""
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON}: python envservers/unity/build.py makes it")
    return PYTHON


@pytest.fixture(scope="session")
def player(unity_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, an executable as Unity builds them."""
    return write_player(tmp_path_factory.mktemp("player") / "Player.x86_64", unity_python)


@pytest.fixture(scope="module")
def launch(
    unity_python: Path, player: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Served]]:
    """Start a server that offers every scenario; `more` are further arguments of the players."""
    with ExitStack() as stack:

        def start(more: str = "", options: Sequence[str] = ()) -> Served:
            logs = tmp_path_factory.mktemp("logs")
            sources = offers(player, f"--log {shlex.quote(str(logs))} {more}")
            return serve(stack, unity_python, logs, [*sources, *options])

        yield start


@pytest.fixture(scope="module")
def server(launch: Callable[..., Served]) -> Served:
    """A server that the tests of a module share; its simulators live in its own process."""
    return launch(options=["--workers=0"])


def write_player(path: Path, python: Path, **environment: str) -> Path:
    """Write the shell script that stands for the executable of a Unity build."""
    exports = {"PYTHONPATH": str(ROOT), **environment}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    run = f'exec {shlex.quote(str(python))} -m tests.envserver.unity.standin "$@"'
    path.write_text("\n".join(["#!/bin/sh", *lines, run, ""]))
    path.chmod(0o755)
    return path


def offers(player: Path, arguments: str) -> list[str]:
    """Return the options of a server that offers each scenario under its own name."""
    return [
        f"--env={name}={shlex.quote(str(player))} --scenario {name} {arguments}"
        for name in SCENARIOS
    ]


def serve(
    stack: ExitStack,
    python: Path,
    logs: Path,
    options: Sequence[str],
    **environment: str,
) -> Served:
    """Start a server and wait for its ready line."""
    command = [str(python), "-m", "wmrun_envserver", "serve", "--backend=unity_mlagents"]
    process = subprocess.Popen(
        [*command, "--listen=127.0.0.1:0", *options],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=(logs / "server.log").open("wb"),
    )
    stack.callback(process.communicate)
    stack.callback(process.kill)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (logs / "server.log").read_text()
    client = Client(json.loads(line)["address"])
    stack.callback(client.close)
    return Served(process, client, logs)
