"""Our own server passes every check, whichever backend it serves and wherever its slots live."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
from wmrun_envserver.conformance.launch import Launched
from wmrun_envserver.conformance.run import Settings
from wmrun_envserver.conformance.suite import Suite, all_checks

from tests.envserver.conformance.conftest import SERVE

SLOW = {21, 22, 24, 27, 32}
NEED_LAUNCH = {26, 28}


class Served(NamedTuple):
    """A backend, the environment to check, and what the suite may leave out."""

    backend: str
    env_id: str
    config: dict[str, Any]
    serve: str = ""
    needs: str = "numpy"
    skip: str = ""
    """Checks that were made of the same code before."""


SERVED = [
    Served("echo", "echo", {}),
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
    serve = f"{SERVE} --backend {served.backend} {served.serve} --listen {{address}}"
    flags = ["--launch", serve, "--env-id", served.env_id, "--config", json.dumps(served.config)]
    command = [sys.executable, "-m", "wmrun_envserver", "conformance", *flags, "--steps", "300"]
    skipped = [word for number in served.skip.split() for word in ("--skip", number)]
    done = subprocess.run([*command, "--json", *skipped], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert [check for check in report["checks"] if check["status"] != "PASS"] == []
    assert (done.returncode, len(report["checks"])) == (0, 32 - len(skipped) // 2)
