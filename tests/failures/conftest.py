"""Experiments on the fragile backend, and servers of it that stand at an address."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.tiny import TINY
from tests.envserver.server.packages import install
from tests.failures.orders import LIMIT_S, Orders

ROOT = Path(__file__).parents[2]
STEP_MS = 10
OBS_SIZE = 4
ACTION_SIZE = 2
CAPACITY = 200_000

_AGENT = TINY[TINY.index("agent:") : TINY.index("replay:")]


class Site:
    """A folder with an experiment, where the fragile backend is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.orders = Orders(folder / "orders")
        module = "tests.failures.fragile_backend"
        install(folder / "site", "fragile", {"fragile": f"{module}:FragileBackend"})
        path = os.pathsep.join([str(folder / "site"), str(ROOT)])
        self.environment = {"PYTHONPATH": path, **self.orders.environment}

    def write(self, servers: str, *, num_envs: int, checkpoint_every: int = 0) -> str:
        """Write an experiment, whose `env.server` or `env.servers` is `servers`; its name."""
        file = self.folder / "fragile.yaml"
        file.write_text(_experiment(servers, num_envs, checkpoint_every))
        return file.name

    @property
    def run(self) -> Path:
        """The directory of the only run here."""
        (run,) = (self.folder / "runs" / "fragile").iterdir()
        return run

    @contextmanager
    def serving(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Run a server of the backend as a user would by hand; its log comes on stderr."""
        with subprocess.Popen(
            [sys.executable, "-m", "wmrun_envserver", "serve", "--backend", "fragile", *options],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("{"), _rest(process)
                yield process
            finally:
                process.kill()


def await_log(server: subprocess.Popen[str], words: str) -> str:
    """Return the next line of a server's log with `words`."""
    assert server.stderr is not None
    limit = threading.Timer(LIMIT_S, server.kill)
    limit.start()
    try:
        line = next((line for line in server.stderr if words in line), None)
    finally:
        limit.cancel()
    assert line is not None, f"the server never said {words!r}"
    return line


def token_in(folder: Path) -> Path:
    """Make a token file."""
    file = folder / "token"
    command = [sys.executable, "-m", "wmrun_envserver", "token", str(file)]
    subprocess.run(command, check=True)
    return file


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.orders.close()


@pytest.fixture(scope="module")
def socket_address() -> Iterator[str]:
    """An address in a private directory."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"unix:{folder}/s.sock"


def _experiment(servers: str, num_envs: int, checkpoint_every: int) -> str:
    return f"""\
extends: dreamer_v2
name: fragile
threads: 1
env:
  backend: fragile
  task: echo
  num_envs: {num_envs}
  options: {{length: 1_000_000, obs_size: {OBS_SIZE}, step_ms: {STEP_MS}}}
  {servers}
{_AGENT}
replay: {{capacity: {CAPACITY}, batch_size: 2, batch_length: 4, sampler: windows}}
run:
  env_steps: 1_000_000
  prefill: 20
  pretrain: 1
  train_ratio: 1
  eval_every: 0
  checkpoint_every: {checkpoint_every}
  log_every: 100
  video: false
"""


def _rest(process: subprocess.Popen[str]) -> str:
    return "" if process.stderr is None else process.stderr.read()
