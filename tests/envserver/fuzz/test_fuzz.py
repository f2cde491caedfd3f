"""Hostile bytes to every rpc: each is answered from the table of statuses, and the server goes on.

A server process on a Unix socket gets them with many calls in flight, the handlers without a
transport get them one by one. The default suite sends some hundreds to each rpc; the marks
`servers` and `slow` more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wmrun_envserver.wire import messages

from tests.envserver.fuzz.in_process import handlers_of
from tests.envserver.fuzz.mutation import Mutator
from tests.envserver.fuzz.outcome import Answer, Call, Tally
from tests.envserver.fuzz.process import MAX_SESSIONS, ServerUnderFire, under_fire
from tests.envserver.fuzz.requests import RPCS, valid
from tests.envserver.fuzz.target import Target
from tests.envserver.oldest import OLDEST_PYTHON, needs_oldest_python

BATCH = 500
REFRESH = 20
"""Messages sent before the session is looked at again."""
MAX_GROWTH_MB = 64.0
MAX_THREADS = 80
"""Of the RPC pool 24, of sessions 8, of gRPC itself one or two per core."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderFire]:
    with under_fire() as server:
        server.assert_serves()
        yield server


@pytest.mark.parametrize("rpc", RPCS)
@pytest.mark.parametrize(
    "count",
    [
        150,
        pytest.param(2_000, marks=pytest.mark.servers),
        pytest.param(10_000, marks=pytest.mark.slow),
    ],
)
def test_a_server_survives_hostile_messages(server, rpc, count):
    mutator = Mutator(RPCS.index(rpc))
    tally = Tally()
    before = server.size()
    for sent in range(0, count, BATCH):
        _fire(server, rpc, _hostile(server, rpc, mutator, min(BATCH, count - sent)), tally)
        assert tally.wrong == []
        assert server.process.poll() is None
        server.assert_serves()
        assert server.free_sessions() == MAX_SESSIONS
        assert server.size().threads <= MAX_THREADS
    assert tally.codes.total() == count
    assert server.size().rss_mb <= before.rss_mb + MAX_GROWTH_MB
    print(rpc, dict(tally.codes), before, server.size())  # shown with -rP


@pytest.mark.servers
@needs_oldest_python
def test_a_server_on_the_oldest_runtime_survives_hostile_messages():
    with under_fire(python=OLDEST_PYTHON) as server:
        for rpc in RPCS:
            _survives(server, rpc)


@pytest.mark.servers
def test_a_server_whose_simulators_are_in_processes_survives_hostile_messages():
    with under_fire("--workers", "1") as server:
        for rpc in ("Reset", "Step", "Render", "StepStream"):
            _survives(server, rpc)


@pytest.mark.parametrize("rpc", RPCS)
@pytest.mark.parametrize(
    "count",
    [
        350,
        pytest.param(8_000, marks=pytest.mark.servers),
        pytest.param(90_000, marks=pytest.mark.slow),
    ],
)
def test_handlers_survive_hostile_messages(socket_dir, rpc, count):
    mutator = Mutator(1000 + RPCS.index(rpc))
    tally = Tally()
    with handlers_of(socket_dir / "s.sock") as (server, handlers):
        target = Target(handlers.reply)
        for _ in range(count):
            request = mutator.mutate(valid(rpc, target.session_id, target.seq))
            got = handlers.call(rpc, request)
            tally.add(rpc, request, got)
            if got.code == "OK":
                _close_opened(handlers.reply, rpc, got)
                target.refresh()
        assert tally.wrong == []
        target.close()
        assert len(server.sessions) == 0
    print(rpc, dict(tally.codes))  # shown with -rP


def test_the_same_seed_gives_the_same_messages():
    requests = valid("OpenSession", "0" * 32, 2)
    first, again, other = (
        [mutator.mutate(requests) for _ in range(50)]
        for mutator in (Mutator(1), Mutator(1), Mutator(2))
    )
    assert first == again
    assert first != other


def _survives(server: ServerUnderFire, rpc: str) -> None:
    tally = Tally()
    _fire(server, rpc, _hostile(server, rpc, Mutator(RPCS.index(rpc)), BATCH), tally)
    assert tally.wrong == []
    server.assert_serves()
    assert server.free_sessions() == MAX_SESSIONS


def _hostile(server: ServerUnderFire, rpc: str, mutator: Mutator, count: int) -> Iterator[bytes]:
    """Yield messages for sessions that are alive, with the seq that they expect."""
    target = Target(server.reply)
    for number in range(count):
        if number % REFRESH == REFRESH - 1:
            target.refresh()
        yield mutator.mutate(valid(rpc, target.session_id, target.seq))
    target.close()


def _fire(server: ServerUnderFire, rpc: str, requests: Iterator[bytes], tally: Tally) -> None:
    for request, got in server.send(rpc, requests):
        tally.add(rpc, request, got)
        if got.code == "OK":
            _close_opened(server.reply, rpc, got)


def _close_opened(call: Call, rpc: str, got: Answer) -> None:
    if rpc == "OpenSession":
        session_id = messages.OpenSessionReply.FromString(got.reply).session_id
        request = messages.CloseSessionRequest(session_id=session_id)
        call("CloseSession", request.SerializeToString())
