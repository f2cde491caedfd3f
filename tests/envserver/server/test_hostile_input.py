from __future__ import annotations

import os
import socket

import grpc
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.wire.service import HEALTH_METHODS, METHODS

from tests.envserver.server.client import Client, Stepper, failure
from tests.envserver.server.scripted import Script, ScriptedBackend

OFFERED = ("GetServerInfo", "OpenSession", "Reset", "Step", "Heartbeat", "CloseSession")


@pytest.mark.parametrize("name", OFFERED)
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


def test_garbage_sent_to_health_is_an_error_of_that_call_alone(connect):
    client = connect()
    with pytest.raises(grpc.RpcError):
        client.raw(HEALTH_METHODS["Check"].path, b"\xff" * 8)
    assert client.health() == 1


def test_the_reflection_service_is_absent(connect):
    with pytest.raises(grpc.RpcError) as caught:
        connect().raw("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
