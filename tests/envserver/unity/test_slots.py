"""Agents have slots in the order in which they appear, and episodes of two are never one."""

from __future__ import annotations

import pytest
from wmrun_envserver.backends.unity_rows import AgentRow
from wmrun_envserver.backends.unity_slots import AgentSlots, TooManyAgents


def asks(agent: int, reward: float = 1.0) -> AgentRow:
    return AgentRow(agent, [], reward)


def ends(agent: int) -> AgentRow:
    return AgentRow(agent, [], 1.0, terminated=True)


@pytest.fixture
def slots() -> AgentSlots:
    return AgentSlots(2, "Walker")


def taken(slots: AgentSlots) -> list[tuple[int, int, bool]]:
    """Answer every slot once, and return what is handed out: slot, agent, whether it is first."""
    slots.wait_for(range(len(slots)))
    rows = [(index, slots.take(index)) for index in slots.ready()]
    return [(index, row.agent, row.is_first) for index, row in rows]


def test_agents_have_slots_in_the_order_in_which_they_appear(slots: AgentSlots) -> None:
    assert slots.ask(asks(17)) == 0
    assert slots.vacant
    assert slots.ask(asks(4)) == 1
    assert not slots.vacant
    assert slots.ask(asks(17)) == 0


def test_a_first_row_has_no_reward_and_the_next_goes_on(slots: AgentSlots) -> None:
    slots.ask(asks(3, reward=9.0))
    slots.ask(asks(3, reward=2.0))
    slots.wait_for([0])
    first = slots.take(0)
    assert (first.is_first, first.reward) == (True, 0.0)
    assert slots.ready() == []
    slots.wait_for([0])
    second = slots.take(0)
    assert (second.is_first, second.reward) == (False, 2.0)


def test_the_end_and_the_next_beginning_are_two_rows(slots: AgentSlots) -> None:
    slots.ask(asks(0))
    assert taken(slots) == [(0, 0, True)]
    slots.end(ends(0))
    slots.ask(asks(0))
    slots.wait_for([0])
    assert slots.take(0).terminated
    assert slots.running == set()
    assert slots.ready() == []
    assert taken(slots) == [(0, 0, True)]
    assert slots.running == {0}


def test_a_newcomer_takes_the_slot_of_the_agent_that_ended_first(slots: AgentSlots) -> None:
    for agent in (0, 1):
        slots.ask(asks(agent))
    taken(slots)
    slots.end(ends(1))
    slots.end(ends(0))
    assert slots.ask(asks(2)) == 1
    assert taken(slots) == [(0, 0, False), (1, 1, False)]
    assert taken(slots) == [(1, 2, True)]
    assert slots.ask(asks(1)) == 0, "agent 1 has lost its slot, and is a newcomer itself"


def test_an_agent_that_ended_keeps_its_slot_while_others_are_vacant(slots: AgentSlots) -> None:
    slots.ask(asks(0))
    slots.end(ends(0))
    assert slots.ask(asks(1)) == 1
    assert slots.ask(asks(0)) == 0


def test_one_agent_more_than_slots_is_an_error(slots: AgentSlots) -> None:
    slots.ask(asks(0))
    slots.ask(asks(1))
    with pytest.raises(TooManyAgents, match="agent 2 of behavior 'Walker' is one more than the 2"):
        slots.ask(asks(2))


def test_a_slot_without_an_agent_waits_for_one_unasked(slots: AgentSlots) -> None:
    slots.ask(asks(0))
    slots.wait_for([0])
    slots.take(0)
    slots.ask(asks(1))
    assert slots.ready() == [1]


def test_a_row_is_handed_out_only_once_its_slot_was_asked_for(slots: AgentSlots) -> None:
    slots.ask(asks(0))
    slots.ask(asks(1))
    slots.wait_for([0])
    assert slots.ready() == [0]


def test_a_first_row_that_is_taken_back_leaves_the_episode_to_begin_later(
    slots: AgentSlots,
) -> None:
    slots.ask(asks(0))
    assert slots.take_back_first(0)
    assert not slots.has_row(0)
    slots.ask(asks(0))
    assert taken(slots) == [(0, 0, True)]
    slots.ask(asks(0))
    assert not slots.take_back_first(0)


def test_an_episode_that_ends_before_anyone_saw_it_leaves_no_row(slots: AgentSlots) -> None:
    slots.ask(asks(0))
    slots.take_back_first(0)
    slots.end(ends(0))
    assert not slots.has_row(0)


def test_an_agent_that_ends_without_ever_asking_takes_no_slot(slots: AgentSlots) -> None:
    slots.ask(asks(0))
    slots.ask(asks(1))
    slots.end(ends(2))
    assert slots.ask(asks(0)) == 0
    assert slots.ask(asks(1)) == 1


def test_a_restart_drops_rows_and_keeps_places(slots: AgentSlots) -> None:
    slots.ask(asks(5))
    slots.ask(asks(6))
    taken(slots)
    slots.end(ends(5))
    slots.restart()
    assert slots.running == set()
    assert slots.ask(asks(6)) == 1
    assert slots.ask(asks(5)) == 0
    assert taken(slots) == [(0, 5, True), (1, 6, True)]
