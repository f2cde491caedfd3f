from __future__ import annotations

import threading

from tests.envserver.server.client import Client, Stepper
from tests.envserver.server.scripted import Script, ScriptedBackend, actions


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
