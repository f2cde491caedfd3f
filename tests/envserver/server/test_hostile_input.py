from __future__ import annotations

import itertools
import os
import socket
import threading
from contextlib import ExitStack
from queue import SimpleQueue

import grpc
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.wire.service import HEALTH_METHODS, METHODS
from wmrun_envserver.wire.status import detail_of

from tests.envserver.server.client import Client, Stepper, failure
from tests.envserver.server.scripted import Script, ScriptedBackend, actions


@pytest.mark.parametrize("name", METHODS)
def test_bytes_that_are_no_message_are_refused_and_the_server_goes_on(connect, name):
    client = connect()
    with pytest.raises(grpc.RpcError) as caught:
        client.raw(METHODS[name].path, b"\xff" * 64)
    code, detail = failure(caught.value)
    assert (code, detail.reason) == ("INVALID_ARGUMENT", "BAD_REQUEST")
    assert Stepper(client).reset().is_first == [True]


@pytest.mark.parametrize("name", ["Reset", "Step", "Heartbeat", "CloseSession"])
def test_an_empty_request_names_no_session(connect, name):
    with pytest.raises(grpc.RpcError) as caught:
        connect().raw(METHODS[name].path, b"")
    assert failure(caught.value)[1].reason == "SESSION_UNKNOWN"


def test_bytes_that_are_no_http2_do_not_stop_the_server(serve):
    server = serve()
    client = Client(server.address)
    session = Stepper(client)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(server.address.path))
        raw.sendall(os.urandom(4096))
    assert session.reset().is_first == [True]
    assert client.health() == 1
    client.close()


def test_an_unknown_field_is_ignored(connect):
    client = connect()
    unknown = bytes([0xFA, 0x7F, 3]) + b"new"  # field 2047, length-delimited
    client.raw(METHODS["GetServerInfo"].path, unknown)


def test_a_request_over_the_limit_is_refused_and_the_session_survives(connect):
    client = connect(limits=Limits(max_message_bytes=16_384))
    session = Stepper(client)
    code, _ = client.refused("Reset", session_id=session.id, seq=1, options_json="x" * 20_000)
    assert code == "RESOURCE_EXHAUSTED"
    assert session.reset().is_first == [True]


def test_a_reply_over_the_limit_is_refused_and_the_session_goes_on(connect):
    backend = ScriptedBackend(Script(info={1: {"log": "x" * 20_000}}))
    client = connect(backend, Limits(max_message_bytes=16_384))
    session = Stepper(client)
    session.reset()
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as caught:
            session.step()
        code, detail = failure(caught.value)
        assert (code, detail.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
    assert len(backend.made[0].actions) == 1
    session.seq += 1
    assert session.step().step_in_episode == [2]


def test_health_answers_for_the_server_and_its_service_alone(connect):
    client = connect()
    assert client.health("") == 1
    assert client.health("wmrun.env.v1.EnvService") == 1
    with pytest.raises(grpc.RpcError) as caught:
        client.health("another.Service")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert detail_of(caught.value) is None


def test_garbage_sent_to_health_is_an_error_of_that_call_alone(connect):
    client = connect()
    with pytest.raises(grpc.RpcError):
        client.raw(HEALTH_METHODS["Check"].path, b"\xff" * 8)
    assert client.health() == 1


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/wmrun.env.v1.EnvService/NoSuchMethod",
    ],
)
def test_other_methods_are_absent_in_the_words_of_grpc(connect, path):
    with pytest.raises(grpc.RpcError) as caught:
        connect().raw(path, b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert detail_of(caught.value) is None


def test_calls_that_wait_leave_room_for_those_that_do_not(connect):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    client = connect(backend, Limits(max_sessions=2))
    session = Stepper(client)
    session.reset()
    fields = {"session_id": session.id, "seq": 2, "action": actions(1)}
    first = client.start("Step", **fields)
    assert backend.made[0].entered.wait(20)

    again = [client.start("Step", **fields) for _ in range(8)]
    refused = [failure(call.exception(20)) for call in itertools.islice(_finished(again), 5)]
    assert {(code, detail.reason) for code, detail in refused} == {
        ("RESOURCE_EXHAUSTED", "CAPACITY")
    }
    assert all(detail.retryable for _, detail in refused)
    assert client.health() == 1
    assert client.call("Heartbeat", session_id=session.id).busy
    assert client.call("GetServerInfo").limits.max_sessions == 2
    gate.set()
    assert first.result().rows.step_in_episode == [1]
    joined = [call.result() for call in again if call.exception() is None]
    assert [reply.replayed for reply in joined] == [True] * 3
    assert len(backend.made[0].actions) == 1


def test_idle_connections_do_not_keep_a_learner_out(serve):
    server = serve()
    client = Client(server.address)
    session = Stepper(client)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
    with ExitStack() as idle:
        for number in range(200):
            connection = idle.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(server.address.path))
            connection.sendall(preface[: len(preface) * (number % 3) // 2])
        other = Client(server.address)
        assert other.call("Heartbeat", session_id=session.id).last_seq == 0
        assert session.reset().is_first == [True]
        other.close()
    client.close()


def test_metadata_over_the_limit_is_refused_and_the_connection_survives(connect):
    client = connect()
    session = Stepper(client)
    heartbeat = METHODS["Heartbeat"].request(session_id=session.id)
    with pytest.raises(grpc.RpcError) as caught:
        client.stub("Heartbeat")(heartbeat, timeout=20, metadata=[("x-long", "x" * 20_000)])
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert session.reset().is_first == [True]


def _finished(calls):
    """Yield calls as they finish."""
    ended = SimpleQueue()
    for call in calls:
        call.add_done_callback(ended.put)
    while True:
        yield ended.get(timeout=20)
