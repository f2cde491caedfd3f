from __future__ import annotations

import threading

import pytest
from wmrun_envserver.server.leases import Sweeper
from wmrun_envserver.server.limits import Limits

from tests.envserver.server.client import Client, Stepper
from tests.envserver.server.scripted import Script, ScriptedBackend, actions


def test_silence_longer_than_the_lease_ends_the_session(connect, clock):
    backend = ScriptedBackend()
    client = connect(backend, Limits(max_sessions=1))
    session = Stepper(client, lease_ms=10_000)
    session.reset()
    clock.advance(10)

    code, detail = client.refused("Step", session_id=session.id, seq=2, action=actions(1))

    assert (code, detail.reason) == ("NOT_FOUND", "LEASE_EXPIRED")
    assert backend.made[0].closed.wait(10)
    assert client.call("GetServerInfo").limits.free_sessions == 1


def test_the_sweep_ends_what_nobody_asks_for(serve, clock):
    backend = ScriptedBackend()
    server = serve(backend)
    client = Client(server.address)
    client.open(lease_ms=10_000)
    client.open(lease_ms=30_000)
    clock.advance(20)
    server.sessions.sweep()
    assert backend.made[0].closed.wait(10)
    assert len(server.sessions) == 1
    client.close()


def test_the_sweeper_sweeps_until_it_is_stopped():
    swept = threading.Semaphore(0)
    sweeper = Sweeper(swept.release, interval_s=0.001)
    sweeper.start()
    assert swept.acquire(timeout=10)
    assert swept.acquire(timeout=10)
    sweeper.stop()
    while swept.acquire(blocking=False):
        pass
    assert not swept.acquire(timeout=0.01)


def test_heartbeats_alone_keep_a_session(connect, clock):
    client = connect()
    session = Stepper(client, lease_ms=10_000)
    for _ in range(4):
        clock.advance(8)
        reply = client.call("Heartbeat", session_id=session.id)
        assert reply.lease_remaining_ms == 10_000
    assert session.reset().is_first == [True]


def test_a_running_call_holds_the_session_and_renews_its_lease_at_the_end(serve, clock):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    server = serve(backend)
    client = Client(server.address)
    session = Stepper(client, lease_ms=10_000)
    session.reset()
    running = client.start("Step", session_id=session.id, seq=2, action=actions(1))
    assert backend.made[0].entered.wait(10)
    clock.advance(1000)
    server.sessions.sweep()
    gate.set()
    assert running.result().lease_remaining_ms == 10_000
    assert client.call("Heartbeat", session_id=session.id).last_seq == 2
    client.close()


@pytest.mark.parametrize(
    ("asked", "granted"), [(0, 60_000), (1, 1_000), (5_000, 5_000), (2**32 - 1, 3_600_000)]
)
def test_the_lease_granted_lies_within_the_limits(connect, asked, granted):
    client = connect()
    assert client.open(lease_ms=asked).lease_ms == granted
    limits = client.call("GetServerInfo").limits
    assert (limits.min_lease_ms, limits.max_lease_ms) == (1_000, 3_600_000)


def test_capacity_counts_sessions_and_slots_and_comes_back(connect):
    client = connect(limits=Limits(max_sessions=2, max_envs=3))
    first = client.open(num_envs=2)
    code, detail = client.open_refused(num_envs=2)
    assert (code, detail.reason, detail.retryable) == ("RESOURCE_EXHAUSTED", "CAPACITY", True)
    assert "1 of 3 are free" in detail.message
    client.open(num_envs=1)
    code, detail = client.open_refused(num_envs=1)
    assert (code, detail.reason) == ("RESOURCE_EXHAUSTED", "CAPACITY")
    assert "all 2 sessions are taken" in detail.message
    client.call("CloseSession", session_id=first.session_id)
    client.open(num_envs=2)


def test_an_expired_session_makes_room_for_the_next_opening(connect, clock):
    client = connect(limits=Limits(max_sessions=1))
    client.open()
    clock.advance(60)
    client.open()


def test_supersede_evicts_the_clients_own_session_at_once(connect):
    backend = ScriptedBackend()
    client = connect(backend, Limits(max_sessions=2, max_envs=2))
    mine = Stepper(client, client_id="run-1")
    other = Stepper(client, client_id="run-2")
    assert client.open_refused(client_id="run-1")[1].reason == "CAPACITY"

    again = Stepper(client, client_id="run-1", supersede=True)

    assert backend.made[0].closed.wait(10)
    code, detail = client.refused("Reset", session_id=mine.id, seq=1)
    assert (code, detail.reason) == ("NOT_FOUND", "SUPERSEDED")
    assert other.reset().is_first == [True]
    assert again.reset().is_first == [True]


def test_a_refused_opening_supersedes_nothing(connect):
    client = connect()
    session = Stepper(client, client_id="run-1")
    client.open_refused(client_id="run-1", supersede=True, env_config_json='{"a": 1}')
    assert session.reset().is_first == [True]


def test_a_closed_session_is_unknown_and_closing_it_twice_is_fine(connect):
    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client)
    client.call("CloseSession", session_id=session.id)
    assert backend.made[0].closed.is_set()
    client.call("CloseSession", session_id=session.id)
    for name in ("Reset", "Step", "Heartbeat"):
        code, detail = client.refused(name, session_id=session.id)
        assert (code, detail.reason) == ("NOT_FOUND", "SESSION_UNKNOWN")


def test_closing_a_session_that_ended_by_itself_is_fine(connect, clock):
    client = connect()
    expired = client.open(lease_ms=10_000)
    superseded = client.open(client_id="run-1", lease_ms=60_000)
    client.open(client_id="run-1", lease_ms=60_000, supersede=True)
    clock.advance(20)
    for session, reason in ((expired, "LEASE_EXPIRED"), (superseded, "SUPERSEDED")):
        _, detail = client.refused("Heartbeat", session_id=session.session_id)
        assert detail.reason == reason
        client.call("CloseSession", session_id=session.session_id)


@pytest.mark.parametrize("name", ["Reset", "Step", "Heartbeat", "CloseSession"])
@pytest.mark.parametrize("session_id", ["", "0" * 32])
def test_an_id_that_never_was_is_unknown(connect, name, session_id):
    code, detail = connect().refused(name, session_id=session_id)
    assert (code, detail.reason, detail.field) == ("NOT_FOUND", "SESSION_UNKNOWN", "session_id")
