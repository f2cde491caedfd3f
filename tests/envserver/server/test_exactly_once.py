from __future__ import annotations

import threading

import grpc
import pytest
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import METHODS

from tests.envserver.server.client import Stepper, failure
from tests.envserver.server.scripted import Script, ScriptedBackend, actions


def _raw_step(client, session_id: str, seq: int) -> bytes:
    request = messages.StepRequest(session_id=session_id, seq=seq, action=actions(1))
    return client.raw(METHODS["Step"].path, request.SerializeToString())


def test_the_same_seq_twice_gives_the_same_bytes_and_one_env_step(connect, clock):
    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client)
    session.reset()

    first, second = (_raw_step(client, session.id, 2) for _ in range(2))

    replies = [messages.StepReply.FromString(data) for data in (first, second)]
    assert [reply.replayed for reply in replies] == [False, True]
    for reply in replies:
        reply.ClearField("replayed")
        reply.ClearField("lease_remaining_ms")
    assert replies[0].SerializeToString() == replies[1].SerializeToString()
    assert replies[0].seq == 2
    assert len(backend.made[0].actions) == 1


def test_a_repeated_seq_is_answered_whatever_else_the_request_says(connect):
    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client, num_envs=2)
    first = session.reset()
    for name, fields in (("Step", {"action": []}), ("Reset", {"slots": [7], "seeds": [1, 2, 3]})):
        reply = client.call(name, session_id=session.id, seq=1, **fields)
        assert (reply.replayed, reply.rows) == (True, first)
    assert [env.seeds for env in backend.made] == [[None], [None]]


def test_a_replay_reports_the_lease_of_now(connect, clock):
    client = connect()
    session = Stepper(client, lease_ms=20_000)
    session.reset()
    clock.advance(15)
    reply = client.call("Reset", session_id=session.id, seq=1)
    assert reply.replayed
    assert reply.lease_remaining_ms == 20_000


@pytest.mark.parametrize("seq", [0, 1, 4])
def test_a_seq_out_of_order_is_a_gap_and_names_the_expected_one(connect, seq):
    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client)
    session.reset()
    session.step()

    code, detail = client.refused("Step", session_id=session.id, seq=seq, action=actions(1))

    assert (code, detail.reason, detail.field) == ("ABORTED", "SEQ_GAP", "seq")
    assert "expected 3, or 2" in detail.message
    assert len(backend.made[0].actions) == 1
    assert session.step().step_in_episode == [2]


def test_seq_zero_is_a_gap_in_a_fresh_session(connect):
    client = connect()
    session_id = client.open().session_id
    code, detail = client.refused("Reset", session_id=session_id, seq=0)
    assert (code, detail.reason) == ("ABORTED", "SEQ_GAP")


def test_a_retry_joins_the_call_that_is_still_running(connect):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    client = connect(backend)
    session = Stepper(client)
    session.reset()
    fields = {"session_id": session.id, "seq": 2, "action": actions(1)}

    lost = client.start("Step", timeout=0.05, **fields)
    assert backend.made[0].entered.wait(10)
    assert lost.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    retry = client.start("Step", **fields)
    assert client.call("Heartbeat", session_id=session.id).busy
    gate.set()

    reply = retry.result()
    assert reply.seq == 2
    assert reply.replayed
    assert list(reply.rows.step_in_episode) == [1]
    assert len(backend.made[0].actions) == 1


def test_another_call_while_one_runs_is_busy_and_works_afterwards(connect):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    client = connect(backend)
    session = Stepper(client)
    session.reset()

    running = client.start("Step", session_id=session.id, seq=2, action=actions(1))
    assert backend.made[0].entered.wait(10)
    code, detail = client.refused("Step", session_id=session.id, seq=3, action=actions(1))
    assert (code, detail.reason, detail.retryable) == ("ABORTED", "BUSY", True)
    gate.set()

    assert running.result().seq == 2
    assert client.call("Step", session_id=session.id, seq=3, action=actions(1)).seq == 3


def test_everything_else_answers_while_a_step_runs(connect):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    client = connect(backend)
    session = Stepper(client)
    session.reset()
    running = client.start("Step", session_id=session.id, seq=2, action=actions(1))
    assert backend.made[0].entered.wait(10)

    heartbeat = client.call("Heartbeat", session_id=session.id)
    assert (heartbeat.busy, heartbeat.last_seq, heartbeat.draining) == (True, 1, False)
    assert client.health() == 1
    assert client.call("GetServerInfo").limits.max_sessions == 32

    gate.set()
    running.result()
    heartbeat = client.call("Heartbeat", session_id=session.id)
    assert (heartbeat.busy, heartbeat.last_seq) == (False, 2)


def test_an_env_is_built_used_and_closed_by_one_thread(connect):
    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client)
    session.reset()
    session.step()
    client.call("CloseSession", session_id=session.id)
    assert len(backend.made[0].threads) == 1
    assert threading.get_ident() not in backend.made[0].threads


def test_closing_during_a_call_lets_it_finish_first(connect):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    client = connect(backend)
    session = Stepper(client)
    session.reset()
    running = client.start("Step", session_id=session.id, seq=2, action=actions(1))
    assert backend.made[0].entered.wait(10)

    closing = client.start("CloseSession", session_id=session.id)
    client.call("GetServerInfo")
    assert not backend.made[0].closed.is_set()
    gate.set()

    closing.result()
    assert backend.made[0].closed.is_set()
    assert running.result().seq == 2


def test_a_bug_in_the_server_ends_the_session_and_is_not_unknown(connect, monkeypatch):
    def broken(*_args: object) -> int:
        raise RuntimeError("lost in /srv/simulator/build/table.bin")

    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client)
    monkeypatch.setattr("wmrun_envserver.server.slots.Slots.reset", broken)

    code, detail = client.refused("Reset", session_id=session.id, seq=1)
    assert (code, detail.reason) == ("INTERNAL", "INTERNAL")
    assert "RuntimeError: lost in table.bin" in detail.message

    code, detail = client.refused("Reset", session_id=session.id, seq=1)
    assert (code, detail.reason) == ("NOT_FOUND", "SESSION_UNKNOWN")
    assert backend.made[0].closed.wait(10)


def test_a_refused_call_names_its_session_seq_and_server(connect):
    client = connect()
    session = Stepper(client)
    with pytest.raises(grpc.RpcError) as caught:
        client.call("Step", session_id=session.id, seq=1, action=actions(1))
    code, detail = failure(caught.value)
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "NOT_RESET")
    assert list(detail.slots) == [0]
    assert (detail.session_id, detail.seq) == (session.id, 1)
    assert detail.instance_id == session.opened.instance_id
    assert session.reset().is_first == [True]
