"""Steps over a socket of their own: the same rows, exactly once, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.status import Reason, error_detail
from wmrun_envserver.wire.step_socket import StepKind

from tests.envs.conftest import LIMIT_S, kill_process, stop_process
from tests.envs.echo_server import started
from tests.envs.scripted_server import script, scripted
from tests.envserver.step_relay import Answer, Cut, Forward, StepRelay, frame, passed_on
from wmrun.envs import call_watch, client, exchange, heartbeat
from wmrun.envs.client import EnvSession, SessionRequest
from wmrun.envs.errors import EnvProtocolError, EnvRequestError, EnvServerLost
from wmrun.envs.opening import STEP_SOCKET
from wmrun.envs.supervisor import ServerProcess

ACTION = [np.array([[0.25, 0.0]], np.float32)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with started(tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.fixture
def directory() -> Iterator[Path]:
    """A private directory whose name is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="wm") as name:
        yield Path(name)


@pytest.fixture
def relay(server: ServerProcess, directory: Path) -> Iterator[StepRelay]:
    relay = StepRelay(server.address, link(server.address, directory))
    yield relay
    relay.close()


@pytest.fixture
def short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, exchange):
        monkeypatch.setattr(module, "DEADLINE_MARGIN_S", 0.2)


def link(address: str, directory: Path) -> str:
    """Return an address in `directory` of the server at `address`, with no step socket beside."""
    path = directory / "p.sock"
    path.symlink_to(address.removeprefix("unix:"))
    return f"unix:{path}"


def request(**changes: Any) -> SessionRequest:
    defaults: dict[str, Any] = {
        "task": "echo",
        "num_envs": 1,
        "client_id": "c",
        "options": {"length": 100},
    }
    return SessionRequest(**{**defaults, **changes})


def count(session: EnvSession) -> float:
    """Step once and return how many steps the environment has taken."""
    return float(session.step(ACTION).obs["vector"][0, 0])


def test_steps_go_over_the_socket_and_everything_else_does_not(relay: StepRelay) -> None:
    with EnvSession(relay.address, request()) as session:
        session.reset()
        assert [count(session) for _ in range(3)] == [1, 2, 3]
        session.reset()
        session.step_begin(ACTION)
        assert session.answered(LIMIT_S)
        assert session.step_end().obs["vector"][0, :2].tolist() == [1, 0.25]
    assert relay.steps == [2, 3, 4, 6]


def test_rows_are_those_that_calls_bring(relay: StepRelay, server: ServerProcess) -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="wm") as without:
        for address in (relay.address, link(server.address, Path(without))):
            wanted = request(num_envs=3, options={"length": 2}, seeds=[1, 2, 3])
            with EnvSession(address, wanted) as session:
                session.reset()
                action = [np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)]
                rows.append([session.step(action) for _ in range(5)])
    assert relay.steps == [2, 3, 4, 5, 6]
    for fast, slow in zip(*rows, strict=True):
        np.testing.assert_array_equal(fast.obs["vector"], slow.obs["vector"])
        for name in ("slots", "reward", "terminated", "truncated", "is_first"):
            np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))


def test_a_partial_session_steps_some_slots(relay: StepRelay) -> None:
    with EnvSession(relay.address, request(num_envs=3)) as session:
        session.reset()
        rows = session.step([np.zeros((2, 2), np.float32)], slots=[0, 2])
        assert rows.slots.tolist() == [0, 2]
    assert relay.steps == [2]


def test_a_socket_that_is_not_here_is_done_without(server: ServerProcess, directory: Path) -> None:
    with EnvSession(link(server.address, directory), request()) as session:
        session.reset()
        assert [count(session), count(session)] == [1, 2]


def test_a_socket_on_which_nobody_listens_is_done_without(
    server: ServerProcess, directory: Path
) -> None:
    name = Path(server.address.removeprefix("unix:")).name
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / f"{name}.step"))
    with EnvSession(link(server.address, directory), request()) as session:
        session.reset()
        assert count(session) == 1


@pytest.mark.parametrize("name", ["../s.sock.step", "/srv/s.sock.step", "a/b", ".", ""])
def test_a_name_that_is_none_is_refused(directory: Path, name: str) -> None:
    settings = {"capabilities": [STEP_SOCKET], "changes": {"step_socket": name}}
    with (
        scripted(script(), path=directory / "s.sock", **settings) as server,
        pytest.raises(EnvProtocolError, match="expected the name of a socket beside its own"),
        EnvSession(server.address, request()),
    ):
        pass


def test_a_server_on_a_port_names_no_socket_for_us_to_connect_to() -> None:
    settings = {"capabilities": [STEP_SOCKET], "changes": {"step_socket": "s"}}
    with (
        scripted(script(), **settings) as server,
        pytest.raises(EnvProtocolError, match="where it was asked for one"),
        EnvSession(server.address, request()),
    ):
        pass


def lost_on_the_way(request: messages.StepRequest, forward: Forward) -> bytes:
    raise Cut


def lost_on_the_way_back(request: messages.StepRequest, forward: Forward) -> bytes:
    forward()
    raise Cut


def cut_in_the_reply(request: messages.StepRequest, forward: Forward) -> bytes:
    raise Cut(forward()[:-1])


def no_reply_message(request: messages.StepRequest, forward: Forward) -> bytes:
    forward()
    return frame(StepKind.REPLY, b"\xff" * 8)


def no_refusal_message(request: messages.StepRequest, forward: Forward) -> bytes:
    return frame(StepKind.REFUSED, b"\xff" * 8)


def no_kind(request: messages.StepRequest, forward: Forward) -> bytes:
    forward()
    return frame(9, b"")


def a_request(request: messages.StepRequest, forward: Forward) -> bytes:
    forward()
    return frame(StepKind.STEP, request)


def endless(request: messages.StepRequest, forward: Forward) -> bytes:
    forward()
    return b"\xff" * 16


def of_another_server(request: messages.StepRequest, forward: Forward) -> bytes:
    return frame(StepKind.REFUSED, error_detail(Reason.SESSION_UNKNOWN, "no such session"))


@pytest.mark.parametrize(
    "answer",
    [
        lost_on_the_way,
        lost_on_the_way_back,
        cut_in_the_reply,
        no_reply_message,
        no_refusal_message,
        no_kind,
        a_request,
        endless,
        of_another_server,
    ],
)
def test_a_step_that_fails_is_sent_as_a_call_and_steps_once(
    relay: StepRelay, answer: Answer
) -> None:
    with EnvSession(relay.address, request()) as session:
        session.reset()
        assert count(session) == 1
        relay.answer = answer
        assert [count(session) for _ in range(3)] == [2, 3, 4]
        session.step_begin(ACTION)
        assert session.answered(LIMIT_S)
        assert session.step_end().obs["vector"][0, 0] == 5
    assert relay.steps == [2, 3]


def test_a_session_whose_socket_broke_before_the_step_goes_on_by_calls(relay: StepRelay) -> None:
    with EnvSession(relay.address, request()) as session:
        session.reset()
        relay.answer = lost_on_the_way_back
        session.step_begin(ACTION)
        assert not session.answered(LIMIT_S)
        assert session.step_end().obs["vector"][0, 0] == 1
        assert count(session) == 2


def test_a_reply_that_is_lost_is_asked_for_by_a_call(relay: StepRelay, short_margin: None) -> None:
    released = threading.Event()

    def silent(request: messages.StepRequest, forward: Forward) -> bytes:
        forward()
        assert released.wait(LIMIT_S)
        raise Cut

    with EnvSession(relay.address, request(step_timeout_s=0.05)) as session:
        session.reset()
        relay.answer = silent
        assert [count(session), count(session)] == [1, 2]
        released.set()
    assert relay.steps == [2]


def test_a_refusal_is_that_of_a_call_and_the_socket_stays(
    relay: StepRelay, server: ServerProcess
) -> None:
    refusals = []
    with tempfile.TemporaryDirectory(prefix="wm") as without:
        for address in (relay.address, link(server.address, Path(without))):
            with EnvSession(address, request()) as session:
                with pytest.raises(EnvRequestError) as before_reset:
                    session.step(ACTION)
                session.reset()
                with pytest.raises(EnvRequestError) as wrong_shape:
                    session.step([np.zeros((1, 3), np.float32)])
                assert [count(session), count(session)] == [1, 2]
                errors = (before_reset.value, wrong_shape.value)
                refusals.append([(str(error), error.reason, error.field) for error in errors])
    assert refusals[0] == refusals[1]
    assert [reason for _, reason, _ in refusals[0]] == ["NOT_RESET", "BAD_ACTION"]
    assert relay.steps == [1, 2, 2, 3]


def test_a_reply_to_another_call_is_refused(relay: StepRelay) -> None:
    def wrong(request: messages.StepRequest, forward: Forward) -> bytes:
        return frame(StepKind.REPLY, messages.StepReply(seq=request.seq + 1))

    with EnvSession(relay.address, request()) as session:
        session.reset()
        relay.answer = wrong
        words = "answered call 2 with the reply to call 3"
        with pytest.raises(EnvProtocolError, match=words):
            session.step(ACTION)


def test_a_session_that_was_superseded_is_told(server: ServerProcess) -> None:
    with EnvSession(server.address, request(client_id="run-7")) as dead:
        dead.reset()
        with (
            EnvSession(server.address, request(client_id="run-7")),
            pytest.raises(EnvRequestError) as caught,
        ):
            dead.step(ACTION)
    assert caught.value.reason == "SUPERSEDED"


def test_a_reply_that_is_waited_for_can_be_asked_after(relay: StepRelay) -> None:
    released = threading.Event()

    def slow(request: messages.StepRequest, forward: Forward) -> bytes:
        assert released.wait(LIMIT_S)
        return forward()

    relay.answer = slow
    with EnvSession(relay.address, request()) as session:
        session.reset()
        session.step_begin(ACTION)
        assert not session.answered(0.0)
        assert not session.answered(0.01)
        released.set()
        assert session.answered(LIMIT_S)
        assert session.answered(0.0)
        assert session.step_end().obs["vector"][0, 0] == 1
        assert count(session) == 2
    assert relay.steps == [2, 3]


def test_a_wait_that_is_interrupted_leaves_a_session_that_can_be_reset(relay: StepRelay) -> None:
    interrupted = threading.Event()

    def interrupting(request: messages.StepRequest, forward: Forward) -> bytes:
        assert begun.wait(LIMIT_S)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        assert interrupted.wait(LIMIT_S)
        return forward()

    begun = threading.Event()

    def wait() -> None:
        begun.set()
        session.answered(LIMIT_S)

    relay.answer = interrupting
    with EnvSession(relay.address, request()) as session:
        session.reset()
        session.step_begin(ACTION)
        with pytest.raises(KeyboardInterrupt):
            wait()
        interrupted.set()
        rows = session.reset()
        assert (rows.is_first.all(), rows.obs["vector"][0, 0]) == (True, 0)
        relay.answer = passed_on
        assert count(session) == 1
    assert relay.steps == [2, 4]


def test_another_thread_can_end_the_wait(relay: StepRelay) -> None:
    entered, released = threading.Event(), threading.Event()

    def hanging(request: messages.StepRequest, forward: Forward) -> bytes:
        entered.set()
        assert released.wait(LIMIT_S)
        raise Cut

    def cancel() -> None:
        assert entered.wait(LIMIT_S)
        session.cancel()

    relay.answer = hanging
    with EnvSession(relay.address, request()) as session:
        session.reset()
        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        with pytest.raises(EnvServerLost, match="the session was closed"):
            session.step(ACTION)
        cancelling.join()
        with pytest.raises(EnvServerLost, match="the session was closed"):
            session.step(ACTION)
        released.set()


def test_closing_the_session_ends_the_connection(relay: StepRelay) -> None:
    with EnvSession(relay.address, request()) as session:
        session.reset()
        count(session)
        assert not relay.ended.is_set()
    assert relay.ended.wait(LIMIT_S)


def test_a_server_that_is_killed_in_a_step_is_lost(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        slow = request(options={"length": 100, "step_ms": 5_000})
        with EnvSession(server.address, slow, server_gone=server.exited) as session:
            session.reset()
            session.step_begin(ACTION)
            kill_process(server.pid)
            with pytest.raises(EnvServerLost, match="the env server ended"):
                session.step_end()


def test_a_server_that_is_stopped_in_a_step_is_given_up_at_its_deadline(
    tmp_path: Path, short_margin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "PROBE_TIMEOUT_S", 0.1)
    with started(tmp_path) as server:
        with EnvSession(server.address, request(step_timeout_s=0.2)) as session:
            session.reset()
            stop_process(server.pid)
            with pytest.raises(
                EnvServerLost, match=r"the env server hangs: no reply within 0\.4 s"
            ):
                session.step(ACTION)
            session.abandon()
        os.kill(server.pid, signal.SIGKILL)


def test_a_server_that_is_stopped_in_a_step_is_given_up_long_before_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "PROBE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(call_watch, "SLOW_CALL_S", 0.1)
    with started(tmp_path) as server:
        wanted = request(step_timeout_s=1e5)
        with EnvSession(
            server.address, wanted, server_stopped=server.is_stopped, server_gone=server.exited
        ) as session:
            session.reset()
            stop_process(server.pid)
            session.step_begin(ACTION)
            with pytest.raises(EnvServerLost, match="the env server hangs: its process is stopped"):
                session.step_end()
            session.abandon()
        os.kill(server.pid, signal.SIGKILL)
