from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest
from wmrun_envserver.server.env_host import EnvHost
from wmrun_envserver.server.hosts import Move, Restart, Spec
from wmrun_envserver.server.restart_queue import RestartQueue
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.wire import spaces

from tests.envserver.server.scripted import OBSERVATION, Script, ScriptedEnv

ACTION = [np.zeros((2, 2), np.float32), np.ones(2, np.int64)]


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def queue(clock, pauses) -> RestartQueue:
    """A queue for which time passes only while it waits."""

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    return RestartQueue(clock, pause)


def restart(slot: int, delay_s: float, reset: Sequence[int] = ()) -> Restart:
    return Restart((slot,), tuple(reset), {}, delay_s)


def slots(restarts) -> list[int]:
    return [slot for taken in restarts for slot in taken.slots]


def test_restarts_are_taken_once_they_are_due_in_the_order_of_that(queue, clock, pauses):
    for slot, delay_s in [(0, 4.0), (1, 2.0), (2, 0.0), (3, 2.0)]:
        queue.add(restart(slot, delay_s))
    assert slots(queue.take("now")) == [2]
    assert queue.next_due == clock.now + 2.0
    clock.advance(2.0)
    assert slots(queue.take("now")) == [1, 3]
    assert slots(queue.take("now")) == []
    assert not any(pauses)


def test_who_needs_one_waits_for_the_first_alone(queue, pauses):
    queue.add(restart(0, 4.0))
    queue.add(restart(1, 1.0))
    assert slots(queue.take("any")) == [1]
    assert sum(pauses) == 1.0


def test_who_needs_all_waits_for_each_in_turn(queue, pauses):
    queue.add(restart(0, 4.0))
    queue.add(restart(1, 1.0))
    assert slots(queue.take("all")) == [1, 0]
    assert pauses == [1.0, 3.0]
    assert queue.next_due == inf


@pytest.mark.parametrize("until", ["now", "any", "all"])
def test_an_empty_queue_waits_for_nothing(queue, pauses, until):
    assert slots(queue.take(until)) == []
    assert not pauses


def test_a_host_steps_other_slots_while_a_restart_waits(queue, clock, caplog):
    scripts = [Script(step_error=RuntimeError("boom")), Script(), Script()]
    made: list[ScriptedEnv] = []

    def make() -> ScriptedEnv:
        made.append(ScriptedEnv(scripts[len(made)]))
        return made[-1]

    spec = Spec(lambda *_: None)
    host = EnvHost(make, spec, restarts=queue)
    host.build(range(2))
    table = RowTable(spaces.leaves(OBSERVATION), 8)
    host.advance(Move([], spec.no_action, [0, 1], [None, None]), table)
    (failure,) = host.advance(Move([0, 1], ACTION, [], []), table)
    host.restart(restart(*failure.slots, delay_s=5.0, reset=failure.slots))

    assert host.collect(table, "now") == ([], [])
    assert made[0].closed.is_set()
    table.begin()
    assert host.advance(Move([1], ACTION, [], []), table) == []
    assert (table.slot, len(made)) == ([1], 2)
    clock.advance(5.0)
    assert host.collect(table, "now") == ([0], [])
    assert (table.slot, table.is_first) == ([1, 0], [False, True])
