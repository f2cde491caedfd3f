"""Rows over the wire are those that the scene's own arithmetic says, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wmrun_envserver.wire import messages

from tests.envserver.unity.conftest import Served
from tests.envserver.unity.session import Row, Session, first
from tests.envserver.unity.standin.scenarios import SCENARIOS, WALKER
from tests.envserver.unity.standin.scene import Sight

pytestmark = pytest.mark.servers


def streams(scenario: str, action: float, messages: int) -> dict[int, list[Row]]:
    """Return the rows of each agent, played here, if every decision is answered with `action`."""
    scene = SCENARIOS[scenario].scene()
    rows: dict[int, list[Row]] = {}
    said = scene.reset()
    for _ in range(messages):
        for agent, info in said:
            of_agent = rows.setdefault(agent.id, [])
            begins = not info.done and (not of_agent or of_agent[-1].ended)
            of_agent.append(
                Row(
                    len(rows) - 1 if begins and not of_agent else of_agent[0].slot,
                    info.sight,
                    0.0 if begins else info.reward,
                    info.done and not info.interrupted,
                    info.done and info.interrupted,
                    begins,
                )
            )
        scene.act({WALKER: [action] * len(scene.asking)})
        said = scene.advance()
    return rows


def by_agent(rows: list[Row]) -> dict[int, list[Row]]:
    streams: dict[int, list[Row]] = {}
    for row in rows:
        streams.setdefault(int(row.sight.agent), []).append(row)
    return streams


def assert_prefixes(got: dict[int, list[Row]], expected: dict[int, list[Row]]) -> None:
    assert got.keys() == expected.keys()
    for agent, rows in got.items():
        assert len(rows) >= 5
        assert rows == expected[agent][: len(rows)]


@pytest.fixture
def opened(server: Served) -> Iterator[list[Session]]:
    """Sessions to be closed at the end."""
    sessions: list[Session] = []
    yield sessions
    for session in sessions:
        session.close()


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("scenario", ["continuous", "period", "older_version"])
def test_one_agent_has_every_row_of_its_own(
    server: Served, opened: list[Session], scenario: str, partial: bool
) -> None:
    opened.append(session := Session(server.client, scenario, partial=partial))
    got = by_agent(session.episodes(25, 0.25))
    assert_prefixes(got, streams(scenario, 0.5, 40))
    assert any(row.terminated for row in got[0])
    assert any(row.truncated for row in got[0])


@pytest.mark.parametrize(
    ("scenario", "agents"),
    [("agents", 3), ("staggered", 3), ("period_agents", 2), ("equal_agents", 2), ("newcomer", 2)],
)
def test_with_partial_batches_no_row_of_any_agent_is_lost(
    server: Served, opened: list[Session], scenario: str, agents: int
) -> None:
    opened.append(session := Session(server.client, scenario, agents, partial=True))
    got = by_agent(session.episodes(40, 0.25))
    assert len(got) == agents
    assert_prefixes(got, streams(scenario, 0.5, 60))


def test_agents_that_ask_at_different_times_have_replies_of_their_own(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "staggered", 3, partial=True))
    reply = session.reset()
    absent = messages.SLOT_ABSENT
    assert list(reply.message.status) == [messages.SLOT_OK, absent, absent]
    assert reply.rows == [first(0, Sight(0, 0, 0, 0))]
    # Agent 2 asks at ticks 1, 4 …, agent 1 at 2, 5 …: slots follow their first appearance.
    assert session.step(0.25, [0]).rows == [first(1, Sight(2, 0, 1, 0))]
    assert session.step(0.25, [1]).rows == [first(2, Sight(1, 0, 2, 0))]
    assert session.step(0.25, [2]).rows == [Row(0, Sight(0, 0, 3, 0.5), 4.5)]
    assert session.step(0.25, [0]).rows == [Row(1, Sight(2, 0, 4, 0.5), 4.5)]


def test_the_end_and_the_next_beginning_of_one_message_are_two_replies(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "agents", 3, partial=True))
    session.reset()
    for _ in range(3):
        session.step(0.25)
    assert session.step(0.25).rows == [
        Row(0, Sight(0, 0, 4, 0.5), 1.5, terminated=True),
        Row(1, Sight(1, 0, 4, 0.5), 1.5),
        Row(2, Sight(2, 0, 4, 0.5), 1.5),
    ]
    assert session.step(0.25).rows == [first(0, Sight(0, 1, 0, 0))]
    assert session.step(0.25, [0]).rows == [
        Row(0, Sight(0, 1, 1, 0.5), 1.5),
        Row(1, Sight(1, 0, 5, 0.5), 1.5, truncated=True),
        Row(2, Sight(2, 0, 5, 0.5), 1.5),
    ]


def test_in_lockstep_an_episode_begins_after_one_action_of_zeros(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "agents", 3))
    session.reset()
    for _ in range(3):
        session.step(0.25)
    assert session.step(0.25).rows[0] == Row(0, Sight(0, 0, 4, 0.5), 1.5, terminated=True)
    assert session.step(0.25).rows == [
        first(0, Sight(0, 1, 1, 0)),
        Row(1, Sight(1, 0, 5, 0.5), 1.5, truncated=True),
        Row(2, Sight(2, 0, 5, 0.5), 1.5),
    ]
    assert session.step(0.25).rows == [
        Row(0, Sight(0, 1, 2, 0.5), 1.5),
        first(1, Sight(1, 1, 1, 0)),
        Row(2, Sight(2, 0, 6, 0.5), 1.5, terminated=True),
    ]


def test_in_lockstep_agents_that_end_together_lose_nothing(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "equal_agents", 2))
    assert_prefixes(by_agent(session.episodes(20, 0.25)), streams("equal_agents", 0.5, 30))


def test_messages_that_only_end_an_episode_are_waited_out_in_lockstep(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "period_agents", 2))
    session.reset()
    session.step(0.25)
    session.step(0.25)
    assert session.step(0.25).rows == [
        Row(0, Sight(0, 0, 7, 0.5), 1.5, terminated=True),
        Row(1, Sight(1, 0, 9, 0.5), 4.5, truncated=True),
    ]
    assert session.step(0.25).rows == [
        first(0, Sight(0, 1, 2, 0)),
        first(1, Sight(1, 1, 0, 0)),
    ]


def test_same_step_brings_the_end_and_the_beginning_in_one_reply(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "agents", 3, autoreset=messages.SAME_STEP))
    session.reset()
    for _ in range(3):
        session.step(0.25)
    assert sorted(session.step(0.25).rows, key=lambda row: row.slot) == [
        Row(0, Sight(0, 0, 4, 0.5), 1.5, terminated=True),
        first(0, Sight(0, 1, 0, 0)),
        Row(1, Sight(1, 0, 4, 0.5), 1.5),
        Row(2, Sight(2, 0, 4, 0.5), 1.5),
    ]
    assert session.step(0.25).rows[0] == Row(0, Sight(0, 1, 1, 0.5), 1.5)


def test_disabled_waits_for_the_reset_of_the_slots_that_ended(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "agents", 3, autoreset=messages.DISABLED))
    session.reset()
    for _ in range(4):
        session.step(0.25)
    code, detail = server.client.refused(
        "Step",
        session_id=session.opened.session_id,
        seq=session.seq + 1,
        action=session.encoded(0.25, 3),
    )
    assert (code, list(detail.slots)) == ("FAILED_PRECONDITION", [0])
    assert session.reset([0]).rows == [first(0, Sight(0, 1, 0, 0))]
    assert session.step(0.25).rows == [
        Row(0, Sight(0, 1, 1, 0.5), 1.5),
        Row(1, Sight(1, 0, 5, 0.5), 1.5, truncated=True),
        Row(2, Sight(2, 0, 5, 0.5), 1.5),
    ]


@pytest.mark.parametrize("partial", [False, True])
def test_a_reset_of_all_slots_resets_the_scene(
    server: Served, opened: list[Session], partial: bool
) -> None:
    opened.append(session := Session(server.client, "agents", 3, partial=partial))
    session.reset()
    session.step(0.25)
    session.step(0.25)
    assert session.reset().rows == [first(slot, Sight(slot, 1, 0, 0)) for slot in range(3)]
    assert session.step(0.25).rows == [Row(slot, Sight(slot, 1, 1, 0.5), 1.5) for slot in range(3)]
    assert len(server.players()[-1].events("reset")) == 2


def test_a_time_limit_truncates_and_resets_the_scene(server: Served, opened: list[Session]) -> None:
    opened.append(session := Session(server.client, "continuous", time_limit=3))
    assert session.opened.max_episode_steps == 3
    assert session.episodes(5, 0.25) == [
        first(0, Sight(0, 0, 0, 0)),
        Row(0, Sight(0, 0, 1, 0.5), 1.5),
        Row(0, Sight(0, 0, 2, 0.5), 1.5),
        Row(0, Sight(0, 0, 3, 0.5), 1.5, truncated=True),
        first(0, Sight(0, 1, 0, 0)),
        Row(0, Sight(0, 1, 1, 0.5), 1.5),
    ]


def test_an_agent_that_vanished_leaves_its_slot_to_the_next_one(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "crowd", 2, partial=True))
    rows = session.episodes(7, 0.25)
    assert [row for row in rows if row.slot == 1] == [
        first(1, Sight(1, 0, 0, 0)),
        Row(1, Sight(1, 0, 1, 0.5), 1.5),
        Row(1, Sight(1, 0, 2, 0.5), 1.5),
        Row(1, Sight(1, 0, 3, 0.5), 1.5, truncated=True),
        first(1, Sight(2, 0, 0, 0)),
        Row(1, Sight(2, 0, 1, 0.5), 1.5),
    ]
    assert [row.sight.age for row in rows if row.slot == 0] == [0, 1, 2, 3, 4, 5, 0, 1]


def test_two_players_of_one_session_move_on_their_own(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "staggered", 6, partial=True, agents=3))
    reply = session.reset()
    assert [row.slot for row in reply.rows] == [0, 3]
    assert session.step(0.25, [3]).rows == [first(4, Sight(2, 0, 1, 0))]
    assert session.step(0.25, [4]).rows == [first(5, Sight(1, 0, 2, 0))]
    assert session.step(0.25, [0]).rows == [first(1, Sight(2, 0, 1, 0))]
