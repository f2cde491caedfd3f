"""Pools over two servers whose replies, and the moments of these, a test scripts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.wire import messages

from tests.envs.conftest import LIMIT_S, out_of_patience
from tests.envs.scripted_server import Row, ScriptedServer, make_rows, scripted
from wmrun.config.schema import ServerShareConfig
from wmrun.envs.pool import EnvPool
from wmrun.envs.rows import Rows

Reply = Callable[[Any], messages.Rows]
MakePool = Callable[[Reply, Reply], tuple[EnvPool, ScriptedServer, ScriptedServer]]


@pytest.fixture
def make_two(make_pool: Callable[..., EnvPool]) -> Iterator[MakePool]:
    """Open a pool over two servers with two slots each."""
    with ExitStack() as stack:

        def make(one: Reply, two: Reply) -> tuple[EnvPool, ScriptedServer, ScriptedServer]:
            servers = [stack.enter_context(scripted(reply)) for reply in (one, two)]
            shares = [ServerShareConfig(address=server.address) for server in servers]
            pool = make_pool(task="t", num_envs=4, servers=shares)
            pool.open()
            return pool, servers[0], servers[1]

        yield make


class Script:
    """Gives rows out in turn, those of the steps that are in `held` once their event is set."""

    def __init__(self, *replies: list[Row], held: dict[int, threading.Event] | None = None) -> None:
        self._replies = list(replies)
        self._held = held or {}

    def __call__(self, request: Any) -> messages.Rows:
        if request.seq in self._held:
            self._held[request.seq].wait(LIMIT_S)
        return make_rows(*self._replies[request.seq - 1])


FIRST: list[Row] = [(0, 10, "F"), (1, 20, "F")]


def table(rows: Rows) -> dict[int, float]:
    return dict(zip(rows.slots.tolist(), rows.obs["vector"][:, 0].tolist(), strict=True))


def step(pool: EnvPool, *values: float) -> Rows:
    return pool.step([np.array(values, np.float32)[:, None]])


def test_all_servers_step_at_the_same_time(make_two: MakePool) -> None:
    both = threading.Barrier(2, timeout=LIMIT_S)

    def reply(request: Any) -> messages.Rows:
        both.wait()
        return make_rows(*FIRST) if request.seq == 1 else make_rows((0, 11, ""), (1, 21, ""))

    pool, *_ = make_two(reply, reply)
    assert table(pool.reset()) == {0: 10, 1: 20, 2: 10, 3: 20}
    assert table(step(pool, 1, 2, 3, 4)) == {0: 11, 1: 21, 2: 11, 3: 21}


def test_each_server_gets_the_actions_of_the_slots_that_have_a_row(make_two: MakePool) -> None:
    one = Script(FIRST, [(1, 21, "")], [(0, 12, ""), (1, 22, "")])
    two = Script([(0, 30, "F"), (1, 0, "A")], [(0, 31, ""), (1, 40, "F")], [(0, 32, "")])
    pool, first, second = make_two(one, two)
    assert table(pool.reset()) == {0: 10, 1: 20, 2: 30}
    assert table(step(pool, 1, 2, 3)) == {1: 21, 2: 31, 3: 40}
    assert table(step(pool, 4, 5, 6)) == {0: 12, 1: 22, 2: 32}
    assert (first.steps, second.steps) == ([[], [1]], [[0], []])
    sent = [r.action[0].data for r in second.requests if isinstance(r, messages.StepRequest)]
    assert sent == [np.array(v, np.float32).tobytes() for v in ([3], [5, 6])]


def test_slots_of_a_slow_server_are_missing_until_it_answers(make_two: MakePool) -> None:
    answers = threading.Event()
    one = Script(FIRST, *([(0, n, ""), (1, n, "")] for n in (1, 2, 3)))
    two = Script(FIRST, [(0, 7, "R"), (1, 7, "T")], [(0, 8, ""), (1, 8, "F")], held={2: answers})
    pool, _, slow = make_two(one, two)
    pool.reset()
    with out_of_patience(pool, 1):
        assert table(step(pool, 0, 0, 0, 0)) == {0: 1, 1: 1}
    answers.set()
    pool._away[pool._members[1]].exception(LIMIT_S)
    rows = step(pool, 0, 0)
    assert table(rows) == {0: 2, 1: 2, 2: 7, 3: 7}
    assert (rows.broken, rows.terminated.tolist()) == ((2,), [False, False, False, True])
    assert table(step(pool, 0, 0, 0, 0)) == {0: 3, 1: 3, 2: 8, 3: 8}
    assert slow.steps == [[], []]


def test_when_all_are_slow_the_first_to_answer_is_waited_for(make_two: MakePool) -> None:
    never, soon = threading.Event(), threading.Event()
    reply = [FIRST, [(0, 1, ""), (1, 1, "")]]
    pool, *_ = make_two(Script(*reply, held={2: never}), Script(*reply, held={2: soon}))
    pool.reset()
    pool.step_begin([np.zeros((4, 1), np.float32)])
    with out_of_patience(pool, 0, 1):
        threading.Thread(target=soon.set).start()
        assert table(pool.step_end()) == {2: 1, 3: 1}
    never.set()


def test_reset_waits_for_every_server(make_two: MakePool) -> None:
    answers = threading.Event()
    reply = [FIRST, [(0, 1, ""), (1, 1, "")], FIRST]
    pool, *_ = make_two(Script(*reply), Script(*reply, held={2: answers}))
    pool.reset()
    with out_of_patience(pool, 1):
        assert table(step(pool, 0, 0, 0, 0)) == {0: 1, 1: 1}
    threading.Thread(target=answers.set).start()
    assert table(pool.reset()) == {0: 10, 1: 20, 2: 10, 3: 20}


def test_sessions_are_closed_also_where_a_call_is_under_way(make_two: MakePool) -> None:
    never = threading.Event()
    reply = [FIRST, [(0, 1, ""), (1, 1, "")]]
    pool, *servers = make_two(Script(*reply), Script(*reply, held={2: never}))
    pool.reset()
    with out_of_patience(pool, 1):
        step(pool, 0, 0, 0, 0)
    pool.close()
    never.set()
    for server in servers:
        assert isinstance(server.requests[-1], messages.CloseSessionRequest)


def test_failures_and_infos_have_the_numbers_of_the_pool(make_two: MakePool) -> None:
    def reply(request: Any) -> messages.Rows:
        rows = make_rows((0, 1, "F"), (1, 2, "R"))
        rows.errors.append(messages.SlotError(slot=1, reason="ENV_FAILED", message="boom"))
        values = messages.Tensor(dtype=messages.UINT8, shape=[1], data=b"\x05")
        rows.info.append(messages.InfoColumn(key="lives", rows=[1], values=values))
        return rows

    pool, *_ = make_two(reply, reply)
    rows = pool.reset()
    assert rows.broken == (1, 3)
    assert [error.slots for error in rows.errors] == [(1,), (3,)]
    assert rows.info["lives"].slots.tolist() == [1, 3]
    assert rows.info["lives"].values.tolist() == [5, 5]
