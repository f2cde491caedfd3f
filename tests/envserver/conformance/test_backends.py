"""Our own server passes every check, whichever backend it serves and wherever its slots live."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from wmrun_envserver.conformance.launch import Launched
from wmrun_envserver.conformance.run import Settings
from wmrun_envserver.conformance.suite import Suite, all_checks

from tests.envserver.conformance.conftest import SERVE
from tests.envserver.unity.conftest import PYTHON as UNITY_PYTHON
from tests.envserver.unity.conftest import write_player

REMOTE = Path(__file__).parents[1] / "backends" / "remote_catch.py"
SLOW = {21, 22, 24, 27, 32, 33}
NEED_LAUNCH = {26, 28}
ECHO_ALONE = "6 10 21 22 24 25 26 27 28 29 30"
"""Checks that make no use of the environment under test."""


class Served(NamedTuple):
    """A backend, the environment to check, and what the suite may leave out."""

    backend: str
    env_id: str
    config: dict[str, Any]
    serve: str = ""
    needs: str = "numpy"
    skip: str = ECHO_ALONE
    """Checks that were made of the same code before."""
    steps: int = 300
    """Enough for the end of an episode."""


SERVED = [
    Served("echo", "echo", {}, skip=""),
    Served("echo", "echo", {}, serve="--workers 2", skip="6 21 22 24 25 26 28 29 30"),
    Served("gym", "CartPole-v1", {"time_limit": 40}, needs="gymnasium"),
    Served("dmc", "cartpole-balance", {"time_limit": 40}, needs="dm_control"),
    Served("atari", "pong", {"time_limit": 80}, needs="ale_py"),
    Served("envpool", "CartPole-v1", {}, needs="envpool"),
]


def test_echo_passes_what_takes_no_time(echo_server: Launched):
    checks = [check for check in all_checks() if check.number not in SLOW | NEED_LAUNCH | {25, 29}]
    with Suite(Settings(steps=50, limit_s=20), echo_server.target) as suite:
        results = list(suite.run(checks))
    assert [(result.check.name, str(result.unmet)) for result in results if result.unmet] == []
    assert {result.status for result in results} == {"PASS"}
    assert len(results) == 23


@pytest.mark.servers
@pytest.mark.parametrize("served", SERVED, ids=lambda served: f"{served.backend}{served.serve}")
def test_the_whole_suite_passes(served: Served):
    if find_spec(served.needs) is None:
        pytest.skip(f"{served.needs} is not installed")
    _check(f"{SERVE} --backend {served.backend} {served.serve}", served)


@pytest.mark.servers
def test_the_whole_suite_passes_with_environments_of_another_server():
    if find_spec("dm_env_rpc") is None:
        pytest.skip("dm_env_rpc is not installed")
    with _remote() as address:
        served = Served("dm_env_rpc", "catch", {}, steps=60)
        _check(f"{SERVE} --backend dm_env_rpc --env catch={address}", served)


@pytest.mark.servers
def test_the_whole_suite_passes_with_a_unity_player(tmp_path: Path):
    if not UNITY_PYTHON.exists():
        pytest.skip(f"no {UNITY_PYTHON}: python envservers/unity/build.py makes it")
    player = write_player(tmp_path / "Player.x86_64", UNITY_PYTHON)
    source = shlex.quote(f"walker={player} --scenario continuous")
    serve = SERVE.replace(sys.executable, str(UNITY_PYTHON))
    served = Served("unity_mlagents", "walker", {}, skip="21 22 24 27", steps=60)
    _check(f"{serve} --backend unity_mlagents --env {source}", served)


def _check(serve: str, served: Served) -> None:
    """Make all checks but those to be left out, and require each to pass."""
    flags = ["--launch", f"{serve} --listen {{address}}", "--env-id", served.env_id]
    flags += ["--config", json.dumps(served.config), "--steps", str(served.steps), "--json"]
    skipped = [word for number in served.skip.split() for word in ("--skip", number)]
    command = [sys.executable, "-m", "wmrun_envserver", "conformance", *flags, *skipped]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert [check for check in report["checks"] if check["status"] != "PASS"] == []
    assert (done.returncode, len(report["checks"])) == (0, 33 - len(skipped) // 2)


@contextmanager
def _remote() -> Iterator[str]:
    """Run a dm_env_rpc server and yield its address."""
    command = [sys.executable, str(REMOTE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()
