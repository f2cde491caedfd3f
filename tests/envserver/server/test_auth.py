from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from wmrun_envserver.server.address import TcpAddress, UnixAddress
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.security import Security
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.wire.service import METHODS, STREAM_METHODS
from wmrun_envserver.wire.status import detail_of

from tests.envserver.server.client import TIMEOUT_S, Client, failure, opening
from tests.envserver.server.scripted import ScriptedBackend

TOKEN = "0123456789abcdef" * 4
WRONG = "f" * 64


@pytest.fixture(params=["unix", "tcp"])
def server(request, socket_dir) -> Iterator[EnvServer]:
    """A server that wants `TOKEN`, on a Unix socket or a loopback port."""
    unix = request.param == "unix"
    address = UnixAddress(socket_dir / "s.sock") if unix else TcpAddress("127.0.0.1", 0)
    server = EnvServer(Catalogue(ScriptedBackend()), address, security=Security(TOKEN))
    server.start()
    yield server
    assert server.drain(5.0)


@pytest.fixture
def client(server) -> Iterator[Client]:
    client = Client(server.address)
    yield client
    client.close()


def send(client: Client, name: str, *authorization: str, **fields: Any) -> Any:
    metadata = [("authorization", value) for value in authorization]
    request = METHODS[name].request(**fields)
    return client.stub(name)(request, timeout=TIMEOUT_S, metadata=metadata, wait_for_ready=True)


def refusal(client: Client, name: str, *authorization: str, **fields: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        send(client, name, *authorization, **fields)
    code, detail = failure(caught.value)
    assert detail.reason == "UNAUTHENTICATED"
    assert not detail.retryable
    text = f"{caught.value.details()} {detail}"
    assert TOKEN not in text
    assert WRONG not in text
    return code, detail.message


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_who_shows_the_token_is_served(client, scheme):
    opened = send(client, "OpenSession", f"{scheme} {TOKEN}", **opening())
    assert opened.num_envs == 1
    send(client, "CloseSession", f"{scheme} {TOKEN}", session_id=opened.session_id)


@pytest.mark.parametrize("name", METHODS)
def test_without_the_token_no_method_answers(client, name):
    code, message = refusal(client, name)
    assert code == "UNAUTHENTICATED"
    assert "authorization: Bearer" in message


@pytest.mark.parametrize(
    "authorization",
    [
        (f"Bearer {WRONG}",),
        (f"Bearer {TOKEN[:-1]}",),
        (f"Bearer {TOKEN}0",),
        ("Bearer",),
        ("Bearer ",),
        (f"Basic {TOKEN}",),
        (TOKEN,),
        (f"Bearer {TOKEN}", f"Bearer {WRONG}"),
    ],
    ids=["wrong", "short", "long", "none", "empty", "basic", "no scheme", "two"],
)
def test_a_wrong_token_opens_nothing(server, client, authorization):
    assert refusal(client, "OpenSession", *authorization, **opening())[0] == "UNAUTHENTICATED"
    assert len(server.sessions) == 0
    info = send(client, "GetServerInfo", f"Bearer {TOKEN}")
    assert info.limits.free_sessions == info.limits.max_sessions


def test_a_session_id_alone_is_not_enough(client):
    opened = send(client, "OpenSession", f"Bearer {TOKEN}", **opening())
    assert refusal(client, "Heartbeat", session_id=opened.session_id)[0] == "UNAUTHENTICATED"


def test_a_stream_is_refused_before_its_first_message(client):
    method = STREAM_METHODS["StepStream"]
    stream = client.channel.stream_stream(
        method.path, method.request.SerializeToString, method.reply.FromString
    )
    calls = stream(iter(()), timeout=TIMEOUT_S, wait_for_ready=True)
    with pytest.raises(grpc.RpcError) as caught:
        next(calls)
    assert failure(caught.value)[0] == "UNAUTHENTICATED"


def test_methods_that_do_not_exist_look_like_those_that_do(client):
    with pytest.raises(grpc.RpcError) as caught:
        client.raw("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"")
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    detail = detail_of(caught.value)
    assert detail is not None
    assert detail.instance_id == ""


def test_a_large_request_without_the_token_is_refused_alike(client):
    large = b"x" * (8 * 2**20)
    with pytest.raises(grpc.RpcError) as caught:
        client.raw(METHODS["Step"].path, large)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_probes_need_no_token(client):
    assert client.health() == 1


def test_refusals_are_logged_once_and_without_what_was_sent(client, caplog):
    caplog.set_level(logging.DEBUG)
    for _ in range(3):
        refusal(client, "GetServerInfo", f"Bearer {WRONG}")
        refusal(client, "OpenSession", **opening())
    send(client, "GetServerInfo", f"Bearer {TOKEN}")
    assert caplog.text.count("without the server's token was refused") == 1
    assert TOKEN not in caplog.text
    assert WRONG not in caplog.text


def test_the_repr_of_the_settings_has_no_token():
    assert TOKEN not in repr(Security(TOKEN))
