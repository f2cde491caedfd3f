from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.server import EnvServer

from tests.envserver.server.client import Client, Stepper, eventually
from tests.envserver.server.scripted import Script, ScriptedBackend, ScriptedEnv, actions
from tests.envserver.step_client import StepClient


def test_draining_closes_every_env_and_removes_the_socket(serve):
    backend = ScriptedBackend()
    server = serve(backend)
    client = Client(server.address)
    Stepper(client, num_envs=2)
    Stepper(client)
    client.close()
    assert server.drain(5.0)
    assert all(env.closed.is_set() for env in backend.made)
    assert not server.address.path.exists()


def test_an_env_that_hangs_is_reported_once_the_grace_is_over(serve):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    server = serve(backend)
    client = Client(server.address)
    session = Stepper(client)
    session.reset()
    running = client.start("Step", session_id=session.id, seq=2, action=actions(1))
    assert backend.made[0].entered.wait(10)
    assert not server.drain(0.05)
    assert not backend.made[0].closed.is_set()
    assert running.code() is not None
    gate.set()
    client.close()


def test_a_server_that_closes_its_envs_leaves_the_sockets_of_its_successor(serve, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(ScriptedEnv, "close", lambda env: gate.wait(30))
    server = serve()
    client = Client(server.address)
    Stepper(client)
    client.close()
    with ThreadPoolExecutor(1) as threads:
        drained = threads.submit(server.drain, 20.0)
        eventually(lambda: not server.address.path.exists())
        successor = EnvServer(Catalogue(ScriptedBackend()), server.address)
        successor.start()
        gate.set()
        assert drained.result()
    _assert_serves(successor)


def test_a_drained_server_whose_files_were_removed_leaves_those_of_another(serve):
    server = serve()
    for path in server.address.path.parent.iterdir():
        path.unlink()
    other = EnvServer(Catalogue(ScriptedBackend()), server.address)
    other.start()
    assert server.drain(5.0)
    _assert_serves(other)


def _assert_serves(server: EnvServer) -> None:
    client = Client(server.address)
    opened = client.open(want_capabilities=["step_socket"])
    StepClient(server.address.path.with_name(opened.step_socket)).close()
    client.close()
    assert server.drain(5.0)
    assert list(server.address.path.parent.iterdir()) == []
