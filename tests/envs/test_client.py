"""Sessions against real servers, over connections that break and beside learners that come back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import SERVICE

from tests.envs.conftest import LIMIT_S
from tests.envs.proxies import Proxy, Rewrite, rewriting, serving
from wmrun.envs.channel import check_server, open_channel
from wmrun.envs.client import EnvSession, SessionRequest
from wmrun.envs.errors import EnvProtocolError, EnvRequestError, EnvServerLost, EnvUnreachable
from wmrun.envs.member import PoolMember
from wmrun.envs.opening import check_family
from wmrun.envs.pool import EnvPool
from wmrun.envs.server_log import ServerLog
from wmrun.envs.supervisor import ServerProcess, start_server

ACTION = [np.array([[0.25, 0.0]], np.float32)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = ServerLog(tmp_path_factory.mktemp("server") / "echo.log")
    process = start_server(python=None, backend="echo", log=log, timeout_s=LIMIT_S)
    yield process
    process.stop()


def request(**changes: Any) -> SessionRequest:
    defaults: dict[str, Any] = {"task": "echo", "num_envs": 1, "client_id": "c", "options": {}}
    return SessionRequest(**{**defaults, **changes})


def free_sessions(server: ServerProcess) -> int:
    with open_channel(server.address) as channel:
        return check_server(channel, server.address, LIMIT_S).limits.free_sessions


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[Proxy]:
    proxy = Proxy(server.address.removeprefix("unix:"))
    yield proxy
    proxy.close()


def test_connection_that_drops_loses_no_step_and_repeats_none(proxy: Proxy) -> None:
    with EnvSession(proxy.address, request(options={"length": 100})) as session:
        session.reset()
        for step in range(1, 6):
            proxy.cut_at_next_reply()
            rows = session.step(ACTION)
            assert rows.obs["vector"][0, :2].tolist() == [step, 0.25]
    assert proxy.cuts == 5


def test_outage_that_outlasts_the_lease_loses_the_session(
    server: ServerProcess, proxy: Proxy
) -> None:
    with EnvSession(proxy.address, request(lease_s=1.0)) as session:
        session.reset()
        proxy.close()
        proxy.cut_at_next_reply()
        with pytest.raises(
            EnvServerLost, match=r"no connection to .* for 1 s, the session's lease"
        ):
            session.step(ACTION)


def test_network_that_comes_back_within_the_lease_costs_nothing(proxy: Proxy) -> None:
    tries = 0

    def restored_at_the_third_try(within_s: float) -> bool:
        nonlocal tries
        tries += 1
        if tries == 3:
            proxy.restore()
        return False

    session = EnvSession(
        proxy.address, request(options={"length": 100}), server_gone=restored_at_the_third_try
    )
    with session:
        session.reset()
        proxy.cut()
        assert session.step(ACTION).obs["vector"][0, 0] == 1
        assert session.step(ACTION).obs["vector"][0, 0] == 2
    assert tries >= 3


def test_network_that_comes_back_after_the_lease_costs_the_episodes(
    proxy: Proxy, make_pool: Callable[..., EnvPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmrun.envs.request._DISTANT_LEASE_S", 1.0)
    monkeypatch.setattr(PoolMember, "_wait", lambda member, seconds: proxy.restore())
    pool = make_pool(backend="echo", task="echo", server={"address": proxy.address})
    pool.open()
    pool.reset()
    proxy.cut()
    rows = pool.step(ACTION)
    assert (rows.broken, rows.is_first.tolist()) == ((0,), [True])
    assert rows.errors[0].message.startswith(f"no connection to {proxy.address} for 1 s")
    assert pool.step(ACTION).obs["vector"][0, 0] == 1


def test_heartbeats_keep_a_session_that_does_nothing_else(server: ServerProcess) -> None:
    with (
        EnvSession(server.address, request(client_id="busy", lease_s=1.0)) as kept,
        EnvSession(server.address, request(client_id="dead", lease_s=1.0)) as lost,
    ):
        kept.reset()
        lost.reset()
        lost._heartbeat.stop()
        both = free_sessions(server)
        deadline = time.monotonic() + LIMIT_S
        while free_sessions(server) == both:
            assert time.monotonic() < deadline, "the lease of the silent session never ran out"
        assert kept.step(ACTION).obs["vector"][0, 0] == 1
        with pytest.raises(EnvServerLost, match="LEASE_EXPIRED"):
            lost.step(ACTION)


def test_closing_frees_the_session_at_once(server: ServerProcess) -> None:
    before = free_sessions(server)
    with EnvSession(server.address, request()):
        assert free_sessions(server) == before - 1
    assert free_sessions(server) == before


def test_resumed_learner_takes_the_place_of_its_dead_self(server: ServerProcess) -> None:
    before = free_sessions(server)
    with EnvSession(server.address, request(client_id="run-7")) as dead:
        dead.reset()
        with EnvSession(server.address, request(client_id="run-7")) as resumed:
            assert free_sessions(server) == before - 1
            resumed.reset()
            # Not a loss that a restart mends: two learners would throw each other out for ever.
            with pytest.raises(EnvRequestError) as caught:
                dead.step(ACTION)
    assert caught.value.reason == "SUPERSEDED"


def test_step_in_two_halves_equals_the_whole(server: ServerProcess) -> None:
    whole, halves = (
        EnvSession(server.address, request(client_id=name, seeds=[5])) for name in ("a", "b")
    )
    with whole, halves:
        whole.reset()
        halves.reset()
        for _ in range(3):
            rows = whole.step(ACTION)
            halves.step_begin(ACTION)
            np.testing.assert_array_equal(halves.step_end().obs["vector"], rows.obs["vector"])


def test_rows_hold_every_kind_of_leaf(server: ServerProcess) -> None:
    with EnvSession(server.address, request(options={"every_space": True})) as session:
        rows = session.reset()
        spec = session.spec.obs_space
    assert {key: leaf.dtype for key, leaf in spec.items()} == {
        key: values.dtype for key, values in rows.obs.items()
    }
    assert rows.obs["ramp/int16"].tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert rows.obs["ramp/text"].tolist() == ["step 0"]


def test_refused_call_leaves_the_session_usable(server: ServerProcess) -> None:
    with EnvSession(server.address, request()) as session:
        with pytest.raises(EnvRequestError) as caught:
            session.step(ACTION)
        assert caught.value.reason == "NOT_RESET"
        session.reset()
        with pytest.raises(EnvRequestError, match=r"expected float32 \[rows, 2\]"):
            session.step([np.zeros((1, 3), np.float32)])
        assert session.step(ACTION).obs["vector"][0, 0] == 1


def test_server_of_another_major_version_is_refused() -> None:
    info = messages.ServerInfo(protocol_major=2, protocol_minor=3)
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, context: info,
        response_serializer=messages.ServerInfo.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(SERVICE, {"GetServerInfo": handler})
    with serving(handlers) as address, pytest.raises(EnvProtocolError) as caught:
        EnvSession(address, request()).open()
    assert caught.value.message == (
        f"the env server at {address} speaks protocol 2.3, this wmrun 1.0"
    )


def test_server_that_lists_the_task_under_another_family_is_refused() -> None:
    envs = [
        messages.EnvInfo(env_id="CartPole-v1", family="gym"),
        messages.EnvInfo(env_id="echo", family="echo"),
        messages.EnvInfo(env_id="old"),
    ]
    info = messages.ServerInfo(envs=envs)
    with pytest.raises(EnvProtocolError) as caught:
        check_family(info, request(task="CartPole-v1", family="dmc"), "host:1")
    assert caught.value.message == ("the env server at host:1 serves gym, env.backend says dmc")
    for task, family in (("CartPole-v1", "gym"), ("echo", "dmc"), ("old", "dmc"), ("new", "dmc")):
        check_family(info, request(task=task, family=family), "host:1")


def test_pool_refuses_a_server_of_another_family(
    make_pool: Callable[..., EnvPool], tmp_path: Path
) -> None:
    log = ServerLog(tmp_path / "gym.log")
    server = start_server(python=None, backend="gym", log=log, timeout_s=LIMIT_S)
    try:
        at = {"address": server.address}
        pool = make_pool(backend="dmc", task="CartPole-v1", server=at)
        with pytest.raises(EnvProtocolError, match=r"serves gym, env\.backend says dmc"):
            pool.open()
        make_pool(backend="gym", task="CartPole-v1", server=at).open()
    finally:
        server.stop()


def test_grpc_server_of_another_kind_is_no_env_server() -> None:
    with (
        serving() as address,
        pytest.raises(EnvUnreachable, match="is no env server: UNIMPLEMENTED"),
    ):
        EnvSession(address, request()).open()


def test_port_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EnvUnreachable, match=f"no env server answers at {address}"):
            EnvSession(address, request(), connect_timeout_s=0.3).open()


def test_pool_finds_a_restarted_server_at_its_address(
    make_pool: Callable[..., EnvPool], caplog: pytest.LogCaptureFixture
) -> None:
    directory = tempfile.mkdtemp()
    address = f"unix:{directory}/s.sock"
    with listening(address) as first:
        pool = make_pool(backend="echo", task="echo", num_envs=2, server={"address": address})
        pool.open()
        pool.reset()
        first.kill()
        first.wait()
    with listening(address):
        rows = pool.step([np.zeros((2, 2), np.float32)])
        assert rows.broken == (0, 1)
        assert rows.is_first.all()
        (failure,) = rows.errors
        assert failure.message.startswith(f"the env server at {address} was restarted")
        assert [record.message for record in caplog.records] == [
            f"the env server at {address} was restarted; opening another session "
            "(1 of 3 within 300 s)"
        ]
        pool.close()
    os.rmdir(directory)


UNKNOWN_FIELD = b"\xc2\x3e\x02hi"
"""Field 1000, length-delimited: what a later version may have added to any message."""


def older_reply(reply: messages.OpenSessionReply) -> bytes:
    for field in ("capabilities", "renderer", "shm_path", "shm_bytes", "max_message_bytes"):
        reply.ClearField(field)
    return reply.SerializeToString()


def newer_reply(reply: messages.OpenSessionReply) -> bytes:
    reply.protocol_minor = 7
    reply.capabilities.append("teleport")
    reply.observation_space.dict.entries[0].space.role = 99  # type: ignore[assignment]
    reply.seed_scope = 99  # type: ignore[assignment]
    return reply.SerializeToString() + UNKNOWN_FIELD


def newer_rows(reply: messages.StepReply) -> bytes:
    reply.rows.status[0] = 99  # type: ignore[call-overload]
    return reply.SerializeToString() + UNKNOWN_FIELD


def without_wishes(request: messages.OpenSessionRequest) -> bytes:
    request.ClearField("want_capabilities")
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("requests", "replies"),
    [
        ({"OpenSession": without_wishes}, {"OpenSession": older_reply}),
        (
            {},
            {
                "OpenSession": newer_reply,
                "Reset": newer_rows,
                "Step": newer_rows,
                "*": lambda reply: reply.SerializeToString() + UNKNOWN_FIELD,
            },
        ),
    ],
    ids=["older", "newer"],
)
def test_server_of_another_minor_version_is_as_good(
    server: ServerProcess, requests: dict[str, Rewrite], replies: dict[str, Rewrite]
) -> None:
    wanted = request(num_envs=2, options={"length": 2}, seeds=[1, 2])
    with (
        rewriting(server.address, requests, replies) as address,
        EnvSession(address, wanted) as session,
    ):
        rows = [session.reset(seeds=[3, 4])]
        rows += [session.step([np.zeros((2, 2), np.float32)]) for _ in range(3)]
    assert [row.is_first.all() for row in rows] == [True, False, False, True]
    assert [row.slots.tolist() for row in rows] == [[0, 1]] * 4


@contextmanager
def listening(
    address: str, *options: str, backend: str = "echo"
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, of the echo backend, as a user would by hand."""
    command = [sys.executable, "-m", "wmrun_envserver", "serve", "--backend", backend]
    with subprocess.Popen(
        [*command, "--listen", address, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"{")
        try:
            yield process
        finally:
            process.terminate()
