"""Hostile bytes to a step socket: an answer from the table, or the end of that connection alone."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.framing import ChannelClosed, Frame
from wmrun_envserver.wire.status import CODES
from wmrun_envserver.wire.step_socket import StepKind

from tests.envserver.fuzz.in_process import handlers_of
from tests.envserver.fuzz.mutation import Mutator
from tests.envserver.fuzz.outcome import Answer, Tally
from tests.envserver.fuzz.process import MAX_SESSIONS, ServerUnderFire, under_fire
from tests.envserver.fuzz.requests import valid
from tests.envserver.fuzz.target import Target
from tests.envserver.oldest import OLDEST_PYTHON, needs_oldest_python
from tests.envserver.step_client import StepClient

BATCH = 500
REFRESH = 20
"""Messages sent before the session is looked at again."""
MAX_GROWTH_MB = 64.0


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderFire]:
    with under_fire() as server:
        server.assert_serves()
        yield server


@pytest.mark.parametrize(
    "count",
    [
        150,
        pytest.param(10_000, marks=pytest.mark.servers),
        pytest.param(100_000, marks=pytest.mark.slow),
    ],
)
def test_every_hostile_request_is_answered_on_the_same_connection(server, count):
    before = server.size()
    tally = _fire_requests(server, Mutator(1), count)
    assert tally.wrong == []
    assert tally.codes.total() == count
    _assert_unharmed(server)
    assert server.size().rss_mb <= before.rss_mb + MAX_GROWTH_MB
    assert server.size().threads <= before.threads + 2
    print(dict(tally.codes))  # shown with -rP


@pytest.mark.parametrize(
    "count",
    [
        100,
        pytest.param(5_000, marks=pytest.mark.servers),
        pytest.param(50_000, marks=pytest.mark.slow),
    ],
)
def test_hostile_frames_end_no_connection_but_their_own(server, count):
    mutator, random, tally = Mutator(2), Random(2), Tally()
    before = server.size()
    with StepClient(server.step_socket) as bystander:
        witness = Target(server.reply)
        witness_seq = witness.seq
        for sent in range(0, count, BATCH):
            target = Target(server.reply)
            for number in range(min(BATCH, count - sent)):
                if number % REFRESH == REFRESH - 1:
                    target.refresh()
                _fire_frames(server, target, mutator, random, tally)
            target.close()
            bystander.send(valid("Step", witness.session_id, witness_seq)[0])
            assert bystander.reply().seq == witness_seq
            witness_seq += 1
        witness.close()
    assert tally.wrong == []
    assert {"OK", "INVALID_ARGUMENT"} <= set(tally.codes)
    _assert_unharmed(server)
    assert server.size().rss_mb <= before.rss_mb + MAX_GROWTH_MB
    assert server.size().threads <= before.threads + 2
    print(dict(tally.codes))


@pytest.mark.servers
@needs_oldest_python
def test_a_server_on_the_oldest_runtime_survives_hostile_requests():
    with under_fire(python=OLDEST_PYTHON) as server:
        assert _fire_requests(server, Mutator(3), BATCH).wrong == []
        _assert_unharmed(server)


@pytest.mark.servers
def test_a_server_whose_simulators_are_in_processes_survives_hostile_requests():
    with under_fire("--workers", "1") as server:
        assert _fire_requests(server, Mutator(4), BATCH).wrong == []
        _assert_unharmed(server)


@pytest.mark.parametrize(
    "count",
    [
        350,
        pytest.param(8_000, marks=pytest.mark.servers),
        pytest.param(90_000, marks=pytest.mark.slow),
    ],
)
def test_the_handler_survives_hostile_requests(socket_dir, count):
    mutator, tally = Mutator(5), Tally()
    with handlers_of(socket_dir / "s.sock") as (server, handlers):
        target = Target(handlers.reply)
        for _ in range(count):
            request = mutator.mutate(valid("Step", target.session_id, target.seq))
            answer = server._service.answer_step(request, lambda: True)
            is_reply = isinstance(answer, bytes)
            got = _replied(answer) if is_reply else _refused(answer)
            tally.add("Step", request, got)
            if is_reply:
                target.refresh()
        assert tally.wrong == []
        target.close()
        assert len(server.sessions) == 0


def _fire_requests(server: ServerUnderFire, mutator: Mutator, count: int) -> Tally:
    tally = Tally()
    target = Target(server.reply)
    with StepClient(server.step_socket) as steps:
        for number in range(count):
            if number % REFRESH == REFRESH - 1:
                target.refresh()
            request = mutator.mutate(valid("Step", target.session_id, target.seq))
            steps.send(request)
            tally.add("Step", request, _answer(steps.receive()))
    target.close()
    return tally


def _fire_frames(
    server: ServerUnderFire, target: Target, mutator: Mutator, random: Random, tally: Tally
) -> None:
    """Send a few frames, broken as bytes, on a connection of their own, and read to its end."""
    requests = random.choices(valid("Step", target.session_id, target.seq), k=3)
    data = mutator.mutate_bytes(b"".join(_frame(request) for request in requests))
    with StepClient(server.step_socket) as steps:
        try:
            steps.send_raw(data)
            steps.finish()
        except OSError:
            return  # it ended at the first broken frame
        try:
            while True:
                tally.add("Step", data, _answer(steps.receive()))
        except ChannelClosed:
            return


def _assert_unharmed(server: ServerUnderFire) -> None:
    assert server.process.poll() is None
    server.assert_serves()
    assert server.free_sessions() == MAX_SESSIONS


def _answer(frame: Frame[StepKind]) -> Answer:
    if frame.kind is StepKind.REPLY:
        return _replied(frame.payload)
    assert frame.kind is StepKind.REFUSED
    return _refused(messages.ErrorDetail.FromString(frame.payload))


def _replied(data: bytes) -> Answer:
    messages.StepReply.FromString(data)
    return Answer("OK", None, "", data)


def _refused(detail: messages.ErrorDetail) -> Answer:
    return Answer(CODES[detail.reason].name, detail, detail.message, b"")


def _frame(request: messages.StepRequest) -> bytes:
    data = request.SerializeToString()
    return len(data).to_bytes(4, "little") + bytes([StepKind.STEP]) + data
