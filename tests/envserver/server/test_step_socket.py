from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from wmrun_envserver.server import step_socket, worker
from wmrun_envserver.server.address import AddressError, TcpAddress, UnixAddress
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.security import Security
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.server.step_socket import StepSocket, step_socket_path
from wmrun_envserver.server.tls import Tls
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.step_socket import StepKind

from tests.envserver.certificates import issue
from tests.envserver.server.client import Client, Stepper, eventually
from tests.envserver.server.scripted import Script, ScriptedBackend, actions
from tests.envserver.step_client import StepClient

WANTED = {"want_capabilities": ["step_socket"]}
TOKEN = "0123456789abcdef" * 4


class Served:
    """A server in this process, a client of it, and connections to its step socket."""

    def __init__(self, server: EnvServer, stack: ExitStack) -> None:
        self.server = server
        self.client = Client(server.address)
        self.path = server.address.path.with_name(f"{server.address.path.name}.step")
        self._stack = stack
        stack.callback(self.client.close)

    def connect(self) -> StepClient:
        return self._stack.enter_context(StepClient(self.path))

    def session(self, **fields: Any) -> Stepper:
        """Open a session and reset it."""
        session = Stepper(self.client, **(WANTED | fields))
        session.reset()
        return session


@pytest.fixture
def start(serve) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:
        yield lambda *args, **kwargs: Served(serve(*args, **kwargs), stack)


def step(session: Stepper, seq: int, **fields: Any) -> messages.StepRequest:
    fields = {"action": actions(session.opened.num_envs)} | fields
    return messages.StepRequest(session_id=session.id, seq=seq, **fields)


def test_a_step_gives_the_same_rows_as_a_call(start):
    served = start(ScriptedBackend(Script(length=2)))
    fast, slow = (served.session(num_envs=2, seeds=[1, 2]) for _ in range(2))
    steps = served.connect()
    for seq in range(2, 8):
        steps.send(step(fast, seq))
        reply = steps.reply()
        assert (reply.seq, reply.replayed) == (seq, False)
        assert reply.lease_remaining_ms == 60_000
        assert reply.rows.SerializeToString() == slow.step().SerializeToString()


def test_the_example_of_the_protocol_is_a_request(start):
    steps = start().connect()
    steps.send_raw(bytes.fromhex("05 00 00 00 01 0a 01 73 10 02"))
    detail = steps.refusal()
    assert (detail.reason, detail.session_id, detail.seq) == ("SESSION_UNKNOWN", "s", 2)


def test_calls_and_steps_of_one_session_take_turns(start):
    served = start()
    session, steps = served.session(), served.connect()
    steps.send(step(session, 2))
    assert list(steps.reply().rows.step_in_episode) == [1]
    session.seq = 2
    assert list(session.step().step_in_episode) == [2]
    session.reset()
    steps.send(step(session, 5))
    assert list(steps.reply().rows.step_in_episode) == [1]


def test_one_connection_steps_several_sessions_in_the_order_of_its_requests(start):
    served = start()
    first, second, steps = served.session(), served.session(num_envs=2), served.connect()
    for seq in (2, 3):
        steps.send(step(first, seq))
        steps.send(step(second, seq))
    replies = [steps.reply() for _ in range(4)]
    assert [(reply.seq, len(reply.rows.slot)) for reply in replies] == [
        (2, 1),
        (2, 2),
        (3, 1),
        (3, 2),
    ]


def test_a_session_without_the_capability_is_refused(start):
    served = start()
    session, steps = served.session(want_capabilities=[]), served.connect()
    assert session.opened.step_socket == ""
    steps.send(step(session, 2))
    detail = steps.refusal()
    assert (detail.reason, detail.field) == ("UNSUPPORTED", "want_capabilities")
    assert list(session.step().step_in_episode) == [1]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"session_id": "f" * 32}, "SESSION_UNKNOWN"),
        ({"session_id": ""}, "SESSION_UNKNOWN"),
        ({"seq": 9}, "SEQ_GAP"),
        ({"action": []}, "BAD_ACTION"),
        ({"slots": [5]}, "BAD_REQUEST"),
    ],
)
def test_a_refusal_consumes_nothing_and_the_connection_goes_on(start, fields, reason):
    served = start()
    session, steps = served.session(), served.connect()
    asked = {"session_id": session.id, "seq": 2, "action": actions(1)} | fields
    steps.send(messages.StepRequest(**asked))
    detail = steps.refusal()
    assert (detail.reason, detail.session_id, detail.seq) == (
        reason,
        asked["session_id"],
        asked["seq"],
    )
    assert detail.instance_id == served.server.instance_id
    steps.send(step(session, 2))
    assert list(steps.reply().rows.step_in_episode) == [1]


@pytest.mark.parametrize("data", [b"\xff" * 64, b"\x0a\x05abc"])
def test_bytes_that_are_no_request_are_refused_and_the_connection_goes_on(start, data):
    served = start()
    session, steps = served.session(), served.connect()
    steps.send(data)
    detail = steps.refusal()
    assert (detail.reason, detail.message) == (
        "BAD_REQUEST",
        "the request is not a wmrun.env.v1.StepRequest message",
    )
    steps.send(step(session, 2))
    assert list(steps.reply().rows.step_in_episode) == [1]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<IB", 4, 9) + b"1234",
        struct.pack("<IB", 0, 0),
        struct.pack("<IB", 0, StepKind.REPLY),
        struct.pack("<IB", 0, StepKind.REFUSED),
        struct.pack("<IB", 16_385, StepKind.STEP),
        struct.pack("<IB", 2**32 - 1, StepKind.STEP),
    ],
    ids=["kind-9", "kind-0", "reply", "refused", "too-long", "longest"],
)
def test_what_is_no_frame_of_a_client_ends_the_connection_and_the_server_goes_on(start, data):
    served = start(limits=Limits(max_message_bytes=16_384))
    session, steps = served.session(), served.connect()
    steps.send_raw(data)
    assert steps.has_ended()
    other = served.connect()
    other.send(step(session, 2))
    assert list(other.reply().rows.step_in_episode) == [1]


def test_a_connection_ends_though_a_child_process_has_its_descriptor(start):
    served = start()
    session, steps = served.session(), served.connect()
    steps.send(step(session, 2))
    steps.reply()
    (connection,) = served.server._step_socket._connections
    inherited = os.dup(connection._channel.fileno())
    steps.send(b"", StepKind.REPLY)
    assert steps.has_ended()
    os.close(inherited)


def test_a_request_of_the_largest_size_is_read(start):
    served = start(limits=Limits(max_message_bytes=16_384))
    session, steps = served.session(), served.connect()
    request = step(session, 2)
    unknown = b"\xfa\x7f"  # field 2047, length-delimited
    filling = 16_384 - request.ByteSize() - len(unknown) - 2
    padding = unknown + bytes([filling & 127 | 128, filling >> 7]) + bytes(filling)
    data = request.SerializeToString() + padding
    assert len(data) == 16_384
    steps.send(data)
    assert steps.reply().seq == 2


def test_who_connects_and_says_nothing_is_sent_away(start, monkeypatch):
    monkeypatch.setattr(step_socket, "_FIRST_STEP_S", 0.05)
    served = start()
    silent, slow = served.connect(), served.connect()
    slow.send_raw(struct.pack("<IB", 4, StepKind.STEP) + b"12")
    assert silent.has_ended()
    assert slow.has_ended()
    assert served.server._step_socket.wait_until_ended(20)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x01s\x10\x02"], ids=["bytes", "no session"])
def test_who_was_only_refused_is_sent_away(start, monkeypatch, data):
    monkeypatch.setattr(step_socket, "_FIRST_STEP_S", 0.5)
    served = start()
    steps = served.connect()
    with suppress(OSError):
        steps.send(data)
    assert steps.has_ended() or steps.has_ended()  # the first is the refusal, unless it was late
    assert served.server._step_socket.wait_until_ended(20)


def test_who_has_stepped_may_be_silent_for_as_long_as_it_likes(start, monkeypatch):
    monkeypatch.setattr(step_socket, "_FIRST_STEP_S", 20.0)
    served = start()
    session, steps = served.session(), served.connect()
    steps.send(step(session, 9))
    steps.refusal()
    (connection,) = served.server._step_socket._connections
    assert connection._deadline is not None
    steps.send(step(session, 2))
    steps.reply()
    assert connection._deadline is None


def test_connections_are_bounded(start):
    served = start(limits=Limits(max_sessions=2))
    session = served.session()
    connections = [served.connect() for _ in range(2 + 8)]
    for connection in connections:
        connection.send(step(session, 2))
        connection.reply()
    assert served.connect().has_ended()
    connections[0].close()
    eventually(lambda: not _is_turned_away(served, session))


def test_a_repeated_seq_is_answered_from_memory(start):
    backend = ScriptedBackend()
    served = start(backend)
    session, steps = served.session(), served.connect()
    steps.send(step(session, 2))
    steps.send(step(session, 2))
    first, again = steps.reply(), steps.reply()
    assert (first.replayed, again.replayed) == (False, True)
    assert first.rows == again.rows
    called = served.client.call("Step", session_id=session.id, seq=2, action=actions(1))
    assert called.replayed
    assert len(backend.made[0].actions) == 1


def stuck_in_a_step(start):
    """Serve an environment that is in its first step until the gate, the last of these, opens."""
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate))
    served = start(backend)
    session, steps = served.session(), served.connect()
    steps.send(step(session, 2))
    assert backend.made[0].entered.wait(20)
    return served, backend, session, steps, gate


def test_a_connection_broken_in_a_step_goes_on_by_calls(start):
    served, backend, session, steps, gate = stuck_in_a_step(start)
    steps.close()
    again = served.client.start("Step", session_id=session.id, seq=2, action=actions(1))
    gate.set()
    reply = again.result()
    assert reply.replayed
    assert reply.rows.step_in_episode == [1]
    assert len(backend.made[0].actions) == 1


def test_a_connection_broken_in_a_step_that_hangs_holds_no_thread(start, monkeypatch):
    monkeypatch.setattr(worker, "_POLL_S", 0.01)
    served, _, session, steps, gate = stuck_in_a_step(start)
    steps.close()
    assert served.server._step_socket.wait_until_ended(20)
    gate.set()
    call = {"session_id": session.id, "seq": 2, "action": actions(1)}
    assert served.client.call("Step", **call).replayed


def test_half_a_frame_and_the_end_step_nothing(start):
    served = start()
    session, steps = served.session(), served.connect()
    data = step(session, 2).SerializeToString()
    steps.send_raw(struct.pack("<IB", len(data), StepKind.STEP) + data[:-1])
    steps.finish()
    assert steps.has_ended()
    assert served.client.call("Heartbeat", session_id=session.id).last_seq == 1


def test_a_reply_larger_than_the_buffers_reaches_a_client_that_reads_late(start):
    served = start(ScriptedBackend(Script(info={1: {"log": "x" * 4_000_000}})))
    session, steps = served.session(), served.connect()
    steps.send(step(session, 2))
    eventually(lambda: served.client.call("Heartbeat", session_id=session.id).last_seq == 2)
    assert steps.reply().ByteSize() > 4_000_000


def test_a_drained_server_ends_connections_that_wait_and_takes_no_more(start):
    served = start()
    session, steps = served.session(), served.connect()
    silent = served.connect()
    steps.send(step(session, 2))
    steps.reply()
    assert served.path.exists()
    assert served.server.drain(10.0)
    assert steps.has_ended()
    assert silent.has_ended()
    assert not served.path.exists()
    with pytest.raises(FileNotFoundError):
        served.connect()


def test_a_drained_server_finishes_the_step_that_runs(start):
    served, _, session, steps, gate = stuck_in_a_step(start)
    drained = threading.Thread(target=served.server.drain, args=(20.0,))
    drained.start()
    eventually(lambda: served.client.call("Heartbeat", session_id=session.id).draining)
    gate.set()
    assert list(steps.reply().rows.step_in_episode) == [1]
    assert steps.has_ended()
    drained.join()


def test_a_drain_ends_though_a_client_does_not_take_its_reply(start):
    served = start(ScriptedBackend(Script(info={1: {"log": "x" * 4_000_000}})))
    session, steps = served.session(), served.connect()
    steps.send(step(session, 2))
    eventually(lambda: served.client.call("Heartbeat", session_id=session.id).last_seq == 2)
    assert served.server.drain(0.2)
    assert steps.reply().seq == 2


def test_the_socket_is_for_this_user_alone_and_beside_the_servers_own(start):
    served = start()
    assert served.session().opened.step_socket == served.path.name
    mode = served.path.lstat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) & 0o077 == 0
    assert stat.S_IMODE(served.path.parent.stat().st_mode) == 0o700


def test_what_a_dead_server_left_is_replaced(socket_dir):
    stale = socket_dir / "s.sock.step"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    before = stale.stat().st_ino, stale.stat().st_ctime_ns
    server = EnvServer(Catalogue(ScriptedBackend()), UnixAddress(socket_dir / "s.sock"))
    server.start()
    assert (stale.stat().st_ino, stale.stat().st_ctime_ns) != before
    StepClient(stale).close()
    assert server.drain(5.0)
    assert list(socket_dir.iterdir()) == []


def test_a_file_that_is_no_socket_is_not_removed(socket_dir):
    diary = socket_dir / "s.sock.step"
    diary.write_text("today")
    with pytest.raises(AddressError, match=r"s\.sock\.step: the file exists and is not a socket"):
        EnvServer(Catalogue(ScriptedBackend()), UnixAddress(socket_dir / "s.sock"))
    assert diary.read_text() == "today"


def test_the_socket_of_another_server_is_not_taken_over(socket_dir):
    other = EnvServer(Catalogue(ScriptedBackend()), UnixAddress(socket_dir / "s.sock.step"))
    other.start()
    with pytest.raises(AddressError, match=r"s\.sock\.step: another server listens there"):
        EnvServer(Catalogue(ScriptedBackend()), UnixAddress(socket_dir / "s.sock"))
    assert other.drain(5.0)


def test_a_server_on_a_port_has_none(tmp_path):
    files = issue(tmp_path / "server")
    for security in (Security(), Security(TOKEN, Tls.load(files.cert, files.key))):
        server = EnvServer(
            Catalogue(ScriptedBackend()), TcpAddress("127.0.0.1", 0), security=security
        )
        server.start()
        assert server._step_socket is None
        if security.tls is None:
            client = Client(server.address)
            assert "step_socket" not in client.call("GetServerInfo").capabilities
            opened = client.open(**WANTED)
            assert (list(opened.capabilities), opened.step_socket) == ([], "")
            client.close()
        assert server.drain(5.0)


def test_a_client_that_came_by_a_unix_socket_alone_is_told_of_it(start):
    served = start()
    assert "step_socket" in served.client.call("GetServerInfo").capabilities
    assert list(served.client.open(**WANTED).capabilities) == ["step_socket"]


def test_a_path_that_is_too_long_for_it_is_done_without(socket_dir):
    directory = socket_dir / "d"
    directory.mkdir(mode=0o700)
    length = 107 - len(str(directory)) - 1
    assert step_socket_path(UnixAddress(directory / ("s" * (length - 5)))) is not None
    address = UnixAddress(directory / ("s" * (length - 4)))
    assert step_socket_path(address) is None
    server = EnvServer(Catalogue(ScriptedBackend()), address)
    server.start()
    client = Client(server.address)
    assert "step_socket" not in client.call("GetServerInfo").capabilities
    session = Stepper(client, **WANTED)
    session.reset()
    assert list(session.step().step_in_episode) == [1]
    assert [path.name for path in directory.iterdir()] == [address.path.name]
    client.close()
    assert server.drain(5.0)


def test_with_a_token_a_session_id_is_the_proof(socket_dir):
    address = UnixAddress(socket_dir / "s.sock")
    server = EnvServer(Catalogue(ScriptedBackend()), address, security=Security(TOKEN))
    server.start()
    client = Client(server.address)
    metadata = [("authorization", f"Bearer {TOKEN}")]
    request = messages.OpenSessionRequest(
        env_id="scripted", num_envs=1, autoreset=messages.NEXT_STEP, **WANTED
    )
    opened = client.stub("OpenSession")(request, timeout=20, metadata=metadata)
    resetting = messages.ResetRequest(session_id=opened.session_id, seq=1)
    client.stub("Reset")(resetting, timeout=20, metadata=metadata)
    with StepClient(socket_dir / opened.step_socket) as steps:
        guess = messages.StepRequest(session_id=f"{1:032x}", seq=2, action=actions(1))
        steps.send(guess)
        assert steps.refusal().reason == "SESSION_UNKNOWN"
        guess.session_id = opened.session_id
        steps.send(guess)
        assert steps.reply().seq == 2
    client.close()
    assert server.drain(5.0)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNABORTED])
def test_a_connection_that_cannot_be_taken_is_taken_later(socket_dir, monkeypatch, caplog, number):
    steps = _echoing(socket_dir, monkeypatch)
    steps._listener = _Failing(steps._listener, number, times=3)
    steps.start()
    with caplog.at_level(logging.WARNING), StepClient(steps.path) as client:
        client.send(b"hello")
        assert client.receive().payload == b"hello"
    steps.end()
    assert len([record for record in caplog.records if "can be taken" in record.message]) == 1


def test_a_connection_for_which_there_is_no_thread_ends(socket_dir, monkeypatch, caplog):
    steps = _echoing(socket_dir, monkeypatch)
    steps.start()
    with monkeypatch.context() as patch:

        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", start)
        with StepClient(steps.path) as client:
            assert client.has_ended()
    with StepClient(steps.path) as client:
        client.send(b"hello")
        assert client.receive().payload == b"hello"
    steps.end()
    assert steps.wait_until_ended(20)


class _Failing:
    """A listener whose first `times` connections cannot be accepted."""

    def __init__(self, listener: socket.socket, number: int, times: int) -> None:
        self._listener = listener
        self._error = OSError(number, "cannot")
        self._left = times

    def accept(self) -> tuple[socket.socket, Any]:
        self._left -= 1
        if self._left >= 0:
            raise self._error
        return self._listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def _echoing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> StepSocket:
    monkeypatch.setattr(step_socket, "_FULL_PAUSE_S", 0.0)
    return StepSocket(
        directory / "s.step",
        lambda data, wanted: data,
        max_connections=2,
        max_message_bytes=100,
    )


def _is_turned_away(served: Served, session: Stepper) -> bool:
    with StepClient(served.path) as steps:
        try:
            steps.send(step(session, 2))
        except OSError:
            return True
        return steps.has_ended()
