from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import STREAM_METHODS

from tests.envserver.server.client import Client, Stepper, eventually, failure
from tests.envserver.server.scripted import Script, ScriptedBackend, actions

STREAM = {"want_capabilities": ["stream"]}


class Stream:
    """One StepStream whose requests are sent one at a time."""

    def __init__(self, client: Client) -> None:
        method = STREAM_METHODS["StepStream"]
        self._requests: SimpleQueue[messages.StepRequest | None] = SimpleQueue()
        stub = client.channel.stream_stream(
            method.path, method.request.SerializeToString, method.reply.FromString
        )
        self.call = stub(iter(self._requests.get, None), timeout=20, wait_for_ready=True)
        self.replies: Iterator[messages.StepReply] = iter(self.call)

    def send(self, session: Stepper, seq: int, **fields: Any) -> None:
        fields = {"action": actions(session.opened.num_envs)} | fields
        self._requests.put(messages.StepRequest(session_id=session.id, seq=seq, **fields))

    def step(self, session: Stepper, seq: int, **fields: Any) -> messages.StepReply:
        self.send(session, seq, **fields)
        return next(self.replies)

    def finish(self) -> None:
        self._requests.put(None)

    def cancel(self) -> None:
        self.call.cancel()
        self._requests.put(None)


def test_a_stream_gives_the_same_rows_as_single_calls(connect):
    client = connect(ScriptedBackend(Script(length=2)))
    streamed, single = (Stepper(client, num_envs=2, seeds=[1, 2], **STREAM) for _ in range(2))
    streamed.reset()
    single.reset()
    stream = Stream(client)
    for seq in range(2, 8):
        reply = stream.step(streamed, seq)
        assert reply.seq == seq
        assert reply.rows.SerializeToString() == single.step().SerializeToString()
    stream.finish()
    assert list(stream.replies) == []


def test_a_session_without_the_capability_has_no_stream(connect):
    client = connect(ScriptedBackend())
    session = Stepper(client)
    session.reset()
    with pytest.raises(grpc.RpcError) as caught:
        Stream(client).step(session, 2)
    code, detail = failure(caught.value)
    assert (code, detail.reason, detail.field) == (
        "UNIMPLEMENTED",
        "UNSUPPORTED",
        "want_capabilities",
    )
    assert list(session.step().step_in_episode) == [1]


def test_requests_may_be_sent_ahead_and_for_several_sessions(connect):
    client = connect()
    one, two = Stepper(client, **STREAM), Stepper(client, num_envs=2, **STREAM)
    one.reset()
    two.reset()
    stream = Stream(client)
    for seq in range(2, 6):
        stream.send(one, seq)
        stream.send(two, seq)
    stream.finish()
    replies = [(reply.seq, list(reply.rows.step_in_episode)) for reply in stream.replies]
    assert replies == [(n + 1, [n] * slots) for n in range(1, 5) for slots in (1, 2)]


def test_a_repeated_seq_is_answered_from_memory(connect):
    client = connect()
    session = Stepper(client, **STREAM)
    session.reset()
    stream = Stream(client)
    first, again = stream.step(session, 2), stream.step(session, 2)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.rows == again.rows
    stream.finish()


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"seq": 9}, "ABORTED", "SEQ_GAP"),
        ({"seq": 3, "action": []}, "INVALID_ARGUMENT", "BAD_ACTION"),
        ({"seq": 3, "slots": [5]}, "INVALID_ARGUMENT", "BAD_REQUEST"),
    ],
)
def test_a_refused_request_ends_the_stream_and_consumes_nothing(connect, fields, code, reason):
    client = connect()
    session = Stepper(client, **STREAM)
    session.reset()
    stream = Stream(client)
    stream.step(session, 2)
    stream.send(session, **fields)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream.replies)
    got, detail = failure(caught.value)
    assert (got, detail.reason, detail.session_id) == (code, reason, session.id)
    stream.finish()
    session.seq = 2
    assert session.step().step_in_episode == [2]


def test_a_stream_broken_in_a_step_goes_on_by_single_calls(connect):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    client = connect(backend)
    session = Stepper(client, **STREAM)
    session.reset()
    stream = Stream(client)
    stream.send(session, 2)
    assert backend.made[0].entered.wait(10)
    stream.cancel()
    gate.set()
    reply = client.call("Step", session_id=session.id, seq=2, action=actions(1))
    assert reply.replayed
    assert reply.rows.step_in_episode == [1]
    assert len(backend.made[0].actions) == 1


def test_streams_are_bounded_so_that_other_calls_find_a_thread(connect):
    client = connect(limits=Limits(max_sessions=1))
    session = Stepper(client, **STREAM)
    session.reset()
    stream = Stream(client)
    stream.step(session, 2)
    other = Stream(client)
    with pytest.raises(grpc.RpcError) as caught:
        next(other.replies)
    assert failure(caught.value)[1].reason == "CAPACITY"
    other.finish()
    assert client.health() == 1
    stream.finish()
    assert list(stream.replies) == []
    eventually(lambda: _can_stream(client, session))


def test_a_drained_server_ends_streams_that_wait(serve, socket_dir):
    server = serve()
    client = Client(server.address)
    session = Stepper(client, **STREAM)
    session.reset()
    stream = Stream(client)
    stream.step(session, 2)
    assert server.drain(10.0)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream.replies)
    assert caught.value.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    stream.finish()
    client.close()


def _can_stream(client: Client, session: Stepper) -> bool:
    stream = Stream(client)
    try:
        stream.step(session, 2)
    except grpc.RpcError:
        return False
    finally:
        stream.finish()
    return True
