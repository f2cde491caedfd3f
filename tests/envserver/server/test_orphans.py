"""Whatever happens to a server, its worker processes and their children are gone after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest
from wmrun_envserver.wire import tensors

from tests.envserver.server.client import Client, Stepper, eventually
from tests.envserver.server.packages import install
from tests.envserver.server.worker_backend import HANG, MOVE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """A server process with two workers."""
    module = "tests.envserver.server.worker_backend"
    install(tmp_path, "obedient", {"obedient": f"{module}:ObedientBackend"})
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-m", "wmrun_envserver", "serve", "--backend", "obedient"]
    with ExitStack() as stack:
        process = subprocess.Popen(
            [*command, "--workers", "2", "--listen", "127.0.0.1:0"],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.communicate)
        stack.callback(process.kill)
        client = Client(json.loads(process.stdout.readline())["address"])  # type: ignore[union-attr]
        stack.callback(client.close)
        yield process, client


@pytest.fixture(params=[False, True], ids=["told", "hidden"])
def hanging(
    served: tuple[subprocess.Popen[str], Client], request: pytest.FixtureRequest
) -> tuple[list[int], object]:
    """The processes of a session whose simulators have children, and its step: one hangs."""
    _, client = served
    config = json.dumps({"child": True, "hides": request.param})
    session = Stepper(client, env_id="obedient", num_envs=2, env_config_json=config)
    numbers = tensors.decode(session.reset().obs[0]).astype(int)
    action = [tensors.encode(np.array([HANG, MOVE]))]
    running = client.start("Step", session_id=session.id, seq=2, action=action)
    eventually(lambda: bool(client.call("Heartbeat", session_id=session.id).busy))
    return [int(pid) for pid in (*numbers[:, 1], *numbers[:, 3])], running


def _are_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() and _state(pid) != "Z" for pid in pids)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_killed_server_leaves_no_worker_and_no_child_even_where_one_hangs(served, hanging):
    (process, _), (pids, _) = served, hanging
    assert not _are_gone(pids)
    process.send_signal(signal.SIGKILL)
    eventually(lambda: _are_gone(pids))


def test_a_drained_server_ends_its_workers(served):
    process, client = served
    session = Stepper(client, env_id="obedient", num_envs=2)
    pids = [int(pid) for pid in tensors.decode(session.reset().obs[0])[:, 1]]
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert _are_gone(pids)
    assert log.count("closed politely") == 2


@pytest.mark.servers
def test_a_server_that_cannot_drain_in_time_leaves_no_worker(served, hanging):
    (process, _), (pids, _) = served, hanging
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    eventually(lambda: _are_gone(pids))


@pytest.mark.servers
def test_an_expired_lease_ends_the_workers(served):
    _, client = served
    session = Stepper(client, env_id="obedient", num_envs=2, lease_ms=1000)
    pids = [int(pid) for pid in tensors.decode(session.reset().obs[0])[:, 1]]
    eventually(lambda: _are_gone(pids))
    with pytest.raises(grpc.RpcError):
        client.call("Step", session_id=session.id, seq=2)
    limits = client.call("GetServerInfo").limits
    assert limits.free_sessions == limits.max_sessions
